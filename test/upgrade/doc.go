// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package upgrade proves that a server is replaced under load without anybody
// noticing: clients that check every byte run on while it is upgraded again and
// again, with new processes that work and with ones that do not.
//
// The tests are short. Two flags make them long:
//
//	go test ./upgrade -run TestUpgrades -long -timeout 1h    100 upgrades, 2 million requests
//	go test ./upgrade -run TestPeers -peers -timeout 1h      the same load on nginx and HAProxy, results side by side
//
// A failed request is one that got no connection, no answer, an answer that is
// cut or has a wrong byte, or a status other than 200. Clients never repeat a
// request, also where RFC 9110 would let them, except on HTTP/2 those of which the
// server says that it has not begun them.
package upgrade
