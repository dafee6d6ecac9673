// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/belay-proxy/belay/config"
	"github.com/belay-proxy/belay/listener"
)

func ExampleNew() {
	signals := make(chan os.Signal) // a real program leaves this out
	srv, err := New(Config{Signals: signals, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	table := srv.Background("table", RunFunc(func(ctx context.Context) error {
		<-ctx.Done() // would look for changes
		return nil
	}))
	svc := srv.Listen("echo", newEcho(), listener.Config{Addr: "127.0.0.1:0"})
	if err := svc.DependsOn(table); err != nil {
		log.Fatal(err)
	}

	go func() {
		<-srv.Ready()
		c, err := net.Dial("tcp", svc.Addrs()[0].String())
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, "x")
		answer := make([]byte, 1)
		io.ReadFull(c, answer)
		fmt.Printf("%s\n", answer)
		signals <- syscall.SIGTERM
	}()
	fmt.Println(srv.Run(context.Background()))
	// Output:
	// x
	// <nil>
}

// writeConf writes a configuration file.
func writeConf(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "conf.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestConfFile loads the file of the quick start.
func TestConfFile(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	var mine struct {
		Rate int `yaml:"rate"`
	}
	file := writeConf(t, `version: 1
threads: 2
pid_file: /tmp/load_balancer.pid
error_log: /tmp/load_balancer_err.log
upgrade_sock: /tmp/load_balancer.sock
mine: {rate: 7}
`)
	signals := make(chan os.Signal, 1)
	s := newServer(t, Config{
		Options: Options{ConfFile: file}, Signals: signals, Sections: []config.Section{{Key: "mine", Value: &mine}},
	})
	c := s.Settings()
	if c.Threads != 2 || c.PIDFile != "/tmp/load_balancer.pid" || c.MaxRetries != 3 || mine.Rate != 7 {
		t.Errorf("settings %+v, section %+v", c, mine)
	}
	s.Background("bg", idle)
	runtime.GOMAXPROCS(3)
	signals <- syscall.SIGTERM
	if err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := runtime.GOMAXPROCS(0); got != 2 {
		t.Errorf("GOMAXPROCS = %d, want 2", got)
	}
}

func TestNewErrors(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"no file", Config{Options: Options{ConfFile: filepath.Join(t.TempDir(), "none")}}, "no such file"},
		{"bad file", Config{Options: Options{ConfFile: writeConf(t, "thread: 1\nversion: 2\n")}}, `conf.yaml:1:1: thread is not a known key`},
		{"all problems", Config{Options: Options{ConfFile: writeConf(t, "thread: 1\nversion: 2\n")}}, `conf.yaml:2:10: version is 2`},
		{"bad settings", Config{Settings: &config.Config{Threads: -1}}, "threads is -1"},
		{"missing section", Config{Sections: []config.Section{{Key: "a", Value: new(int), Required: true}}}, "a is missing"},
	}
	for _, tt := range tests {
		tt.cfg.Logger = testLogger(t)
		if _, err := New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: New = %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestWarnings(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"settings and file", Config{Options: Options{ConfFile: "f"}, Settings: &config.Config{}}, "the configuration file is ignored"},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		tt.cfg.Logger = slog.New(slog.NewTextHandler(&out, nil))
		if _, err := New(tt.cfg); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := out.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: logged %q, want %s", tt.name, got, tt.want)
		}
	}
}

func TestSelfTest(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	at := func(addr string) listener.Config { return listener.Config{Addr: addr} }
	tests := []struct {
		name string
		add  func(s *Server)
		want string // problem
	}{
		{"fine", func(s *Server) { s.Listen("a", newEcho(), at(free.Addr().String()), local) }, ""},
		{"again", func(s *Server) { s.Listen("a", newEcho(), at(free.Addr().String())) }, ""},
		{"in use by a running server", func(s *Server) { s.Listen("a", newEcho(), at(taken.Addr().String())) }, ""},
		{"used twice", func(s *Server) {
			s.Listen("a", newEcho(), at(free.Addr().String()))
			s.Listen("b", newEcho(), at(free.Addr().String()))
		}, `service "b": listen on ` + free.Addr().String() + ": another listener"},
		{"cannot bind", func(s *Server) { s.Listen("a", newEcho(), at("unix:/nonexistent/folder/s")) }, "no such file"},
		{"no services", func(*Server) {}, "there are no services"},
		{"too many connections", func(s *Server) {
			c := at("127.0.0.1:0")
			c.MaxConns = math.MaxInt32
			s.Listen("a", newEcho(), c)
		}, "the listeners allow 2147483647 connections"},
		{"user", func(s *Server) {
			s.settings.User = "nobody-of-this-name"
			s.Listen("a", newEcho(), at("127.0.0.1:0"))
		}, "unknown user nobody-of-this-name"},
		{"own check", func(s *Server) {
			s.Background("bg", RunFunc(func(context.Context) error { t.Error("started"); return nil }))
			s.Check("certificates", func(context.Context) error { return errors.New("expired") })
		}, "certificates: expired"},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		s := newServer(t, Config{Options: Options{Test: true}, Stdout: &out})
		s.Check("fine", func(context.Context) error { return nil })
		tt.add(s)
		err := s.Run(t.Context())
		if tt.want == "" {
			if err != nil || out.String() != "configuration test passed\n" {
				t.Errorf("%s: %v, %q", tt.name, err, out.String())
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.want) || out.Len() > 0 {
			t.Errorf("%s: %v, %q, want %s", tt.name, err, out.String(), tt.want)
		}
	}
}
