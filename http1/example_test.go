// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1_test

import (
	"fmt"
	"log"
	"net"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
)

func ExampleNewServerConn() {
	client, server := net.Pipe()
	cfg := http1.ServerConfig{}.WithDefaults()
	c := http1.NewServerConn(server, &cfg, func(s *http1.ServerStream) {
		text := "hello from " + s.Request().Target
		s.WriteHead(&header.Response{Status: 200, Length: int64(len(text))}, false)
		s.WriteBody([]byte(text), true)
	})
	go c.Serve()

	fmt.Println(get(client, "/a"))
	client.Close()
	// Output: 200 hello from /a
}

func ExampleNewClientConn() {
	nc, origin := net.Pipe()
	cfg := http1.ServerConfig{}.WithDefaults()
	go http1.NewServerConn(origin, &cfg, func(s *http1.ServerStream) {
		s.WriteHead(&header.Response{Status: 204}, true)
	}).Serve()

	c := http1.NewClientConn(nc)
	defer c.Close()
	ccfg := http1.ClientConfig{}.WithDefaults()
	c.Begin(&ccfg, nil)
	req := header.Request{Method: "GET", Target: "/"}
	req.SetHost("example.com")
	if err := c.WriteHead(&req, "", false, true); err != nil {
		log.Fatal(err)
	}
	var res header.Response
	if err := c.SendAndReadHead(&res); err != nil {
		log.Fatal(err)
	}
	_, last, err := c.ReadBody()
	fmt.Println(res.Status, last, err, c.Reusable())
	// Output: 204 true <nil> true
}

// get sends a request on nc and returns status and body of the response.
func get(nc net.Conn, target string) string {
	c := http1.NewClientConn(nc)
	cfg := http1.ClientConfig{}.WithDefaults()
	c.Begin(&cfg, nil)
	req := header.Request{Method: "GET", Target: target}
	req.SetHost("example.com")
	if err := c.WriteHead(&req, "", false, true); err != nil {
		log.Fatal(err)
	}
	var res header.Response
	if err := c.SendAndReadHead(&res); err != nil {
		log.Fatal(err)
	}
	var body []byte
	for {
		piece, last, err := c.ReadBody()
		if err != nil {
			log.Fatal(err)
		}
		if body = append(body, piece...); last {
			return fmt.Sprintf("%d %s", res.Status, body)
		}
	}
}
