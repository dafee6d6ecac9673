// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2_test

import (
	"fmt"
	"log"
	"net"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http2"
)

func ExampleNewServerConn() {
	client, nc := net.Pipe()
	defer client.Close()
	cfg := http2.Config{MaxStreams: 50}.WithDefaults()
	c := http2.NewServerConn(nc, &cfg, nil, func(s *http2.ServerStream) {
		s.WriteHead(&header.Response{Status: 200, Length: 5}, false)
		s.WriteBody([]byte("hello"), true)
	})
	go c.Serve()

	fmt.Println(get(client))
	// Output: 200 hello <nil>
}

func ExampleNewClientConn() {
	nc, server := net.Pipe()
	defer nc.Close()
	serverConfig := http2.Config{}.WithDefaults()
	go http2.NewServerConn(server, &serverConfig, nil, func(s *http2.ServerStream) {
		s.WriteHead(&header.Response{Status: 200, Length: 5}, false)
		s.WriteBody([]byte("hello"), true)
	}).Serve()

	fmt.Println(get(nc))
	// Output: 200 hello <nil>
}

// get sends one request over nc.
func get(nc net.Conn) (status int, body string, err error) {
	cfg := http2.Config{}.WithDefaults()
	c := http2.NewClientConn(nc, &cfg, "http")
	defer c.Close()
	s := c.NewStream(nil, 0, 0)
	if s == nil {
		log.Fatal("the server takes no streams")
	}
	defer s.Finish()
	req := &header.Request{Method: "GET", Target: "/"}
	req.SetHost("example.com")
	if err := s.WriteHead(req, "", false, true); err != nil {
		return 0, "", err
	}
	var res header.Response
	if err := s.ReadHead(&res); err != nil {
		return 0, "", err
	}
	for {
		piece, last, err := s.ReadBody()
		body += string(piece)
		if last || err != nil {
			return res.Status, body, err
		}
	}
}
