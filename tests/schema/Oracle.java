/* SPDX-License-Identifier: Apache-2.0
 *
 * Kafka's own codec reads frames that ours has written, and must write the same bytes again. Input:
 * a line per frame, `name version hex`. Versions that this release does not know are left to the
 * other release. Prints the lines it checked; a difference ends with code 1.
 */
import java.io.BufferedReader;
import java.io.FileReader;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

public class Oracle {
    static final String[] PLACES = {
        "org.apache.kafka.common.message.%sData", "org.apache.kafka.common.message.%s",
        "org.apache.kafka.coordinator.group.generated.%s",
        "org.apache.kafka.coordinator.transaction.generated.%s",
        "org.apache.kafka.common.metadata.%s"};

    static String camel(String name) {
        if (name.equals("control_record_key"))
            return "ControlRecordTypeSchema";
        StringBuilder camel = new StringBuilder();
        for (String word : name.split("_"))
            camel.append(Character.toUpperCase(word.charAt(0))).append(word.substring(1));
        return camel.toString();
    }

    static Message find(String name) throws ReflectiveOperationException {
        for (String place : PLACES) {
            try {
                Class<?> type = Class.forName(String.format(place, camel(name)));
                return (Message) type.getDeclaredConstructor().newInstance();
            } catch (ClassNotFoundException tryNext) {
            }
        }
        return null;
    }

    public static void main(String[] args) throws Exception {
        int equal = 0, different = 0;
        try (BufferedReader frames = new BufferedReader(new FileReader(args[0]))) {
            for (String line = frames.readLine(); line != null; line = frames.readLine()) {
                String[] words = line.split(" ", 3);
                short version = Short.parseShort(words[1]);
                Message message = find(words[0]);
                if (message == null || version < message.lowestSupportedVersion()
                        || version > message.highestSupportedVersion())
                    continue;
                byte[] ours = HexFormat.of().parseHex(words[2]);
                String theirs;
                try {
                    ByteBuffer buffer = ByteBuffer.wrap(ours);
                    message.read(new ByteBufferAccessor(buffer), version);
                    ObjectSerializationCache cache = new ObjectSerializationCache();
                    byte[] bytes = new byte[message.size(cache, version)];
                    message.write(new ByteBufferAccessor(ByteBuffer.wrap(bytes)), cache, version);
                    theirs = buffer.hasRemaining() ? "bytes left" : HexFormat.of().formatHex(bytes);
                } catch (RuntimeException error) {
                    theirs = error.toString();
                }
                if (theirs.equals(words[2])) {
                    equal++;
                    System.out.println(words[0] + " " + version);
                } else {
                    different++;
                    System.err.println(line + "\n  Kafka: " + theirs);
                }
            }
        }
        System.err.printf("%d frames equal, %d different%n", equal, different);
        System.exit(different > 0 ? 1 : 0);
    }
}
