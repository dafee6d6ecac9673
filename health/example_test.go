// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/belay-proxy/belay/health"
)

func ExampleNewMonitor() {
	checker := health.CheckerFunc(func(_ context.Context, addr string) error {
		if addr == "10.0.0.2:8080" {
			return errors.New("connection refused")
		}
		return nil
	})
	m, err := health.NewMonitor(checker, health.Config{}, func(changes []health.Change) {
		for _, c := range changes {
			fmt.Println(c.Addr, "healthy:", c.Healthy, "because:", c.Err)
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	m.Set([]string{"10.0.0.1:8080", "10.0.0.2:8080"})

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	<-m.Checked()
	fmt.Println("10.0.0.1:8080 healthy:", m.Healthy("10.0.0.1:8080"))
	cancel()
	if err := <-done; err != nil {
		log.Fatal(err)
	}
	// Output:
	// 10.0.0.2:8080 healthy: false because: connection refused
	// 10.0.0.1:8080 healthy: true
}

// Every 5 seconds each backend is asked for the service that it is used for.
func ExampleGRPCChecker() {
	checker := &health.GRPCChecker{Service: "shop.Orders"}
	m, err := health.NewMonitor(checker, health.Config{Interval: 5 * time.Second}, func(changes []health.Change) {
		for _, c := range changes {
			fmt.Println(c.Addr, "healthy:", c.Healthy, "because:", c.Err) // "because: server is NOT_SERVING"
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	m.Set([]string{"10.0.0.1:50051", "10.0.0.2:50051"})
	// Then m.Run(ctx), until ctx ends.
}
