// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package discovery_test

import (
	"context"
	"fmt"
	"log"

	"github.com/belay-proxy/belay/discovery"
)

func ExampleNewStatic() {
	ctx := context.Background()
	set, err := discovery.NewStatic(ctx, nil,
		discovery.Target{Addr: "10.0.0.1:8080"},
		discovery.Target{Addr: "10.0.0.2:8080", Weight: 2})
	if err != nil {
		log.Fatal(err)
	}
	if err := set.Add(ctx, discovery.Target{Addr: "unix:/run/app.sock"}); err != nil {
		log.Fatal(err)
	}
	set.Remove("10.0.0.1:8080")

	targets, err := set.Discover(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, t := range targets {
		fmt.Println(t.Addr, t.Weight)
	}
	// Output:
	// 10.0.0.2:8080 2
	// unix:/run/app.sock 0
}
