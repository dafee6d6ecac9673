// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package h2spec runs the conformance suite of the same name against a server.
//
//	go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
//	go test ./h2spec
//
// The tests are skipped if the program is not installed; ".ci/run h2spec"
// installs it.
package h2spec
