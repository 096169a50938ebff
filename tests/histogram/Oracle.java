// SPDX-License-Identifier: Apache-2.0
//
// What HdrHistogram's library says of the values that tests/unit/tools/bench/test_bench_hgrm.c draws,
// in the same lines: quantiles, buckets, and the text of its percentile distribution.
import org.HdrHistogram.Histogram;
import org.HdrHistogram.HistogramIterationValue;

public final class Oracle {
    private static final double[] QUANTILES = {0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99,
        0.999, 0.9999, 0.99999, 0.999999, 1};

    public static void main(String[] arguments) {
        long count = Long.parseLong(arguments[0]);
        Histogram histogram = new Histogram(1, 1L << 61, 3);
        long random = 88172645463325252L;
        long max = 0; // the library knows its bucket's end
        for (long i = 0; i < count; i++) {
            random ^= random << 13;
            random ^= random >>> 7;
            random ^= random << 17;
            long value = 20000 + (random >>> (13 + (int) (random & 31)));
            histogram.recordValue(value);
            max = Math.max(max, value);
        }
        System.out.printf("quantile max %d%n", max);
        for (double quantile : QUANTILES) {
            long value = histogram.getValueAtPercentile(quantile * 100);
            System.out.printf("quantile %.6f %d%n", quantile, Math.min(value, max));
        }
        for (HistogramIterationValue bucket : histogram.recordedValues()) {
            System.out.printf("bucket %d %d%n", histogram.highestEquivalentValue(bucket.getValueIteratedTo()),
                bucket.getCountAtValueIteratedTo());
        }
        histogram.outputPercentileDistribution(System.out, 5, 1e6);
    }
}
