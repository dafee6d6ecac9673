// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package testssl has no code of its own. Its test runs testssl.sh against a
// listener with its defaults and fails for every finding that would cost the
// grade A.
//
//	apt-get install testssl.sh
//	go test -count=1 -v ./testssl
//
// The test is skipped if the program is not installed. It takes a minute or two.
package testssl
