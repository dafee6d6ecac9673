// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Command bench measures what one proxied request costs: belay beside other
// proxies, on this machine, in one run.
//
//	go run ./bench                      # everything that is installed, 5 rounds
//	go run ./bench --scenario 'h1-64-*' --peers nginx,belay
//	go run ./bench --belay old=./belay-v1 # this tree against another binary
//	go run ./bench --quick              # short rounds, and the gate for CI
//
// All proxies do the same work, which is verified before anything is measured:
// the Host field is rewritten, the X-Forwarded fields are set, three origins
// are used in turn over kept connections, and nothing is logged. Where one
// differs, the report says so. The figure that counts is CPU time per request
// of the proxy's processes, and of that the ratio between two proxies in one
// round: an absolute time says more about the machine than about the proxy.
//
// Where to look: scenario.go lists what is measured, runner.go does the rounds
// and measure.go one measurement, find.go finds the proxies, peers.go and the
// file of each start them, verify.go and body.go compare their work, access.go
// has the TLS and HTTP/2 of clients.
//
// origin.go and load.go are the two programs around the proxy. schedule.go and
// the files openloop are load at a constant rate, survive.go is that for events.go,
// grpc.go and websocket.go are other protocols, and h2load.go runs a program.
//
// proctree_linux.go follows the processes of a proxy, procstat_linux.go,
// memory_linux.go and syscalls_linux.go count what they use. metrics.go has the
// columns, stats.go the medians, latency.go and growth.go measure series,
// targets.go knows what belay is to hold; report.go prints, markdown.go, plots.go
// and svg.go publish, pgo.go makes the profile for the compiler. Linux only, as
// it reads /proc and pins processes to CPUs.
//
// Every process listens on the loopback network alone and is ended by the process id it
// was started with, also on interrupt.
package main
