// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// nextProtocol makes a member one of KIP-848.
func nextProtocol() []kgo.Opt {
	return []kgo.Opt{kgo.WithContext(context.WithValue(context.Background(), "opt_in_kafka_next_gen_balancer_beta", true))}
}
