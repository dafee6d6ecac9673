// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"flag"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func ExampleParseOptions() {
	var backends []string
	opts, err := ParseOptions([]string{"-tc", "conf.yaml", "--backend", "10.0.0.1:80", "--backend=10.0.0.2:80"}, func(fs *flag.FlagSet) {
		fs.Func("backend", "`host:port` to send requests to; may be repeated", func(s string) error {
			backends = append(backends, s)
			return nil
		})
	})
	fmt.Println(opts.Test, opts.ConfFile, backends, err)
	// Output: true conf.yaml [10.0.0.1:80 10.0.0.2:80] <nil>
}

// own are the options that the program of the tests adds.
type own struct {
	Backends []string
	HTTP     string
	Fast     bool
	X        int
}

func (o *own) add(fs *flag.FlagSet) {
	fs.Func("backend", "`host:port` of a backend", func(s string) error {
		if !strings.Contains(s, ":") {
			return errors.New("want host:port")
		}
		o.Backends = append(o.Backends, s)
		return nil
	})
	fs.StringVar(&o.HTTP, "http", "0.0.0.0:80", "`address` to listen on")
	fs.BoolVar(&o.Fast, "fast", false, "be fast")
	fs.IntVar(&o.X, "x", 0, "a `number`")
}

func TestParseOptions(t *testing.T) {
	tests := []struct {
		args string
		want Options
		own  own
		err  string
	}{
		{args: ""},
		{args: "-u", want: Options{Upgrade: true}},
		{args: "--upgrade", want: Options{Upgrade: true}},
		{args: "-d --test", want: Options{Daemon: true, Test: true}},
		{args: "-du", want: Options{Daemon: true, Upgrade: true}},
		{args: "-duc f -t", want: Options{Daemon: true, Upgrade: true, Test: true, ConfFile: "f"}},
		{args: "-c f", want: Options{ConfFile: "f"}},
		{args: "-cf", want: Options{ConfFile: "f"}},
		{args: "-c=f", want: Options{ConfFile: "f"}},
		{args: "--conf f", want: Options{ConfFile: "f"}},
		{args: "--conf=a=b", want: Options{ConfFile: "a=b"}},
		{args: "--nocapture"},
		{args: "-V", want: Options{Version: true}},
		{args: "-h --nonsense", want: Options{Help: true}},
		{args: "a -t b -- -c", want: Options{Test: true, Args: []string{"a", "b", "-c"}}},
		{args: "-", want: Options{Args: []string{"-"}}},
		{args: "--backend a:1 --backend=b:2", own: own{Backends: []string{"a:1", "b:2"}}},
		{args: "--fast --http :1 -x 3", own: own{Fast: true, HTTP: ":1", X: 3}},
		{args: "-tx3", want: Options{Test: true}, own: own{X: 3}},
		{args: "--fast=false -x-1", own: own{X: -1}},
		{args: "-z", err: "unknown option -z"},
		{args: "-dz", err: "unknown option -z"},
		{args: "-é", err: "unknown option"},
		{args: "--zed=1", err: "unknown option --zed"},
		{args: "--c f", err: "unknown option --c"},
		{args: "-conf", want: Options{ConfFile: "onf"}},
		{args: "--", want: Options{}},
		{args: "--conf", err: "option --conf needs a value"},
		{args: "-c", err: "option -c needs a value"},
		{args: "--daemon=maybe", err: `option --daemon: invalid value "maybe"`},
		{args: "-x y", err: `option -x: invalid value "y"`},
		{args: "--backend a", err: `option --backend: invalid value "a": want host:port`},
	}
	for _, tt := range tests {
		var mine own
		got, err := ParseOptions(strings.Fields(tt.args), mine.add)
		if tt.err != "" {
			if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
				t.Errorf("%q: error %v, want %s", tt.args, err, tt.err)
			}
			continue
		}
		if tt.own.HTTP == "" {
			tt.own.HTTP = "0.0.0.0:80"
		}
		got.flags = nil
		if err != nil || !reflect.DeepEqual(got, tt.want) || !reflect.DeepEqual(mine, tt.own) {
			t.Errorf("%q: %+v, %+v, %v, want %+v, %+v", tt.args, got, mine, err, tt.want, tt.own)
		}
	}
}

func FuzzParseOptions(f *testing.F) {
	for _, s := range []string{"", "-duc f", "--conf=f", "-- x", "-x3", "--fast=1", "-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var mine own
		args := strings.Split(in, " ")
		o, err := ParseOptions(args, mine.add)
		if err == nil && len(o.Args) > len(args) {
			t.Errorf("%q: %d arguments left of %d", in, len(o.Args), len(args))
		}
		if o.Usage() == "" {
			t.Error("no usage")
		}
	})
}

func TestUsage(t *testing.T) {
	o, err := ParseOptions(nil, new(own).add)
	if err != nil {
		t.Fatal(err)
	}
	got := o.Usage()
	for _, want := range []string{
		"Usage: server.test [options]", "-c, --conf FILE", "-d, --daemon", "-u, --upgrade", "-t, --test", "-h, --help", "-V, --version",
		"      --backend host:port\n                        host:port of a backend\n",
		"      --fast            be fast\n",
		"  -x number             a number\n",
		"(default 0.0.0.0:80)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("usage lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "nocapture") {
		t.Errorf("usage has the hidden option:\n%s", got)
	}
}
