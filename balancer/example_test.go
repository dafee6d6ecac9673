// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"context"
	"fmt"
	"log"

	"github.com/belay-proxy/belay/balancer"
)

func ExampleNew() {
	lb, err := balancer.New(balancer.Config{},
		balancer.Backend{Addr: "10.0.0.1:8080", Weight: 5},
		balancer.Backend{Addr: "10.0.0.2:8080"},
		balancer.Backend{Addr: "10.0.0.3:8080"})
	if err != nil {
		log.Fatal(err)
	}
	for range 7 {
		peer, err := lb.Pick(nil)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(peer.Addr)
	}
	// Output:
	// 10.0.0.1:8080
	// 10.0.0.1:8080
	// 10.0.0.2:8080
	// 10.0.0.1:8080
	// 10.0.0.3:8080
	// 10.0.0.1:8080
	// 10.0.0.1:8080
}

// Each attempt of a request goes to another backend.
func ExampleBalancer_Next() {
	lb, err := balancer.New(balancer.Config{},
		balancer.Backend{Addr: "10.0.0.1:8080"},
		balancer.Backend{Addr: "10.0.0.2:8080"})
	if err != nil {
		log.Fatal(err)
	}
	var tried balancer.Tried // a field of the state of the request
	for attempt := 1; attempt <= 3; attempt++ {
		peer, err := lb.Next(nil, &tried)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(attempt, peer.Addr)
	}
	// Output:
	// 1 10.0.0.1:8080
	// 2 10.0.0.2:8080
	// 3 10.0.0.1:8080
}

// Run keeps the set up to date; New starts nothing.
func ExampleBalancer_Run() {
	lb, err := balancer.New(balancer.Config{}, balancer.Backend{Addr: "10.0.0.1:8080"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- lb.Run(ctx) }()
	<-lb.Ready()
	lb.SetEnabled("10.0.0.1:8080", false)
	_, err = lb.Pick(nil)
	fmt.Println(err)
	cancel()
	fmt.Println(<-done)
	// Output:
	// upstream: pick: no backend available
	// <nil>
}
