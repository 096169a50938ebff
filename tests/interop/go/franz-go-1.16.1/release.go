// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/twmb/franz-go/pkg/kgo"

// nextProtocol: this release has no members of KIP-848, and is not asked for one.
func nextProtocol() []kgo.Opt { return nil }
