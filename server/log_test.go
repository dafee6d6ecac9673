// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

func TestLogSpec(t *testing.T) {
	tests := []struct {
		spec string
		want string // first letters of the levels logged by "a", then by "upstream"
		err  string // part of the error
	}{
		{"", "iwe iwe", ""},
		{"info", "iwe iwe", ""},
		{"debug", "diwe diwe", ""},
		{"WARN", "we we", ""},
		{"error", "e e", ""},
		{"off", " ", ""},
		{"warn,upstream=debug", "we diwe", ""},
		{" upstream = off , ,error", "e ", ""},
		{"a=error,upstream=warn", "e we", ""},
		{"loud", "iwe iwe", `"loud" is wrong`},
		{"loud,upstream=error", "iwe e", `"loud" is wrong`},
		{"warn,upstream=loud,=info", "we we", `"=info" is wrong`},
	}
	for _, tt := range tests {
		spec, err := parseLogSpec(tt.spec)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%q: error %v, want %q", tt.spec, err, tt.err)
		}
		var got []string
		for _, pkg := range []string{"a", "upstream"} {
			var out bytes.Buffer
			l := newLogs(&out, spec).logger(pkg).With("x", 1).WithGroup("g")
			l.Debug("d")
			l.Info("i")
			l.Warn("w")
			l.Error("e")
			var seen strings.Builder
			for line := range strings.Lines(out.String()) {
				if !strings.Contains(line, "pkg="+pkg) {
					t.Errorf("%q: line without pkg: %s", tt.spec, line)
				}
				_, msg, _ := strings.Cut(line, "msg=")
				seen.WriteByte(msg[0])
			}
			got = append(got, seen.String())
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%q logs %q, want %q", tt.spec, s, tt.want)
		}
	}
}

func TestLoggerOfProgram(t *testing.T) {
	var out bytes.Buffer
	s, err := New(Config{Logger: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.Logger("mine").Info("hello")
	if got := out.String(); !strings.Contains(got, "msg=hello pkg=mine") {
		t.Errorf("logged %q", got)
	}
}

// What names levels is read in full; a mistake never changes what is right.
func FuzzParseLogSpec(f *testing.F) {
	for _, s := range []string{"", "info", "warn,upstream=debug", "off, proxy = TRACE ,", "a=b=c", "=info", "x=", "info,info,=", "debug,http1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		spec, err := parseLogSpec(in)
		for pkg := range spec.pkgs {
			if pkg == "" || pkg != strings.TrimSpace(pkg) || strings.ContainsAny(pkg, ",=") {
				t.Errorf("%q: level of package %q", in, pkg)
			}
		}
		again, err2 := parseLogSpec(in + ",")
		if !reflect.DeepEqual(again, spec) || (err2 == nil) != (err == nil) {
			t.Errorf("%q: %+v, %v; with a comma behind %+v, %v", in, spec, err, again, err2)
		}
		last, _ := parseLogSpec(in + ",error,fuzzed=debug")
		if last.level != slog.LevelError || last.pkgs["fuzzed"] != slog.LevelDebug {
			t.Errorf("%q: what comes last is lost: %+v", in, last)
		}
	})
}
