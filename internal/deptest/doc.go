// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package deptest holds tests of the repository as a whole: which package may
// import which (layers_test.go), which modules the framework may pull in
// (allow.txt, modules_test.go), and what every file must have (files_test.go).
// It has no code of its own.
//
//	go test ./internal/deptest
package deptest
