// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/upgrade"
)

// The old process. For a listener, listener.Listener.File returns the file.
func ExampleHandOver() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cfg := upgrade.Config{Path: filepath.Join(dir, "upgrade.sock"), Logger: slog.New(slog.DiscardHandler)}
	go newProcess(cfg)

	ln, err := listener.Listen(context.Background(), listener.Config{Addr: "127.0.0.1:0", Name: "web"})
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	file, err := ln.File()
	if err != nil {
		log.Fatal(err)
	}
	cargo := upgrade.Cargo{
		Sockets: []upgrade.Socket{{Name: ln.Name(), Addr: ln.ConfiguredAddr(), File: file}},
		State:   map[string][]byte{"requests served": []byte("41")},
	}
	defer cargo.Close()
	successor, err := upgrade.HandOver(context.Background(), cfg, func() (upgrade.Cargo, error) { return cargo, nil })
	if err != nil {
		log.Fatal(err) // nothing has happened: go on
	}
	fmt.Println("old: replaced,", successor.Taken)
	// Output:
	// new: has web after 41 requests
	// old: replaced, [true]
}

func newProcess(cfg upgrade.Config) {
	predecessor, err := upgrade.TakeOver(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	socket := predecessor.Cargo.Sockets[0]
	defer socket.File.Close()
	ln, err := net.FileListener(socket.File)
	if err != nil {
		predecessor.Abort(err) // the old process goes on
		return
	}
	defer ln.Close()
	fmt.Printf("new: has %s after %s requests\n", socket.Name, predecessor.Cargo.State["requests served"])
	known := func() {} // here it writes the pid file
	if err := predecessor.Confirm(context.Background(), []int{0}, known); err != nil {
		log.Fatal(err) // the old process goes on
	}
	// Here it begins to accept.
}
