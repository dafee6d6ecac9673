// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"bytes"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/header"
)

func TestParseHealth(t *testing.T) {
	tests := []struct {
		name, message string
		want          int
	}{
		{"empty is the default", "", 0},
		{"unknown", "\x08\x00", 0},
		{"serving", "\x08\x01", serving},
		{"not serving", "\x08\x02", 2},
		{"long form", "\x88\x00\x81\x80\x00", serving},
		{"the last counts", "\x08\x02\x08\x01", serving},
		{"status of the future", "\x08\xe8\x07", 1000},
		{"other fields", "\x10\x05\x19abcdefgh\x22\x03abc\x2dabcd\x08\x01\x10\x05", serving},
		{"field 1 as bytes", "\x0a\x01\x01", 0},
		{"negative", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", malformed},
		{"cut tag", "\x88", malformed},
		{"no value", "\x08", malformed},
		{"cut value", "\x08\x81", malformed},
		{"number too long", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", malformed},
		{"field 0", "\x00\x01", malformed},
		{"cut bytes", "\x22\x04abc", malformed},
		{"length too large", "\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", malformed},
		{"cut fixed64", "\x19abcdefg", malformed},
		{"cut fixed32", "\x2dabc", malformed},
		{"group", "\x0b\x0c", malformed},
	}
	for _, tt := range tests {
		if got := parseHealth([]byte(tt.message)); got != tt.want {
			t.Errorf("%s: parseHealth(%q) = %d, want %d", tt.name, tt.message, got, tt.want)
		}
	}
}

func TestCutGRPCFrame(t *testing.T) {
	tests := []struct {
		name, body, want, err string
	}{
		{"message", "\x00\x00\x00\x00\x02ab", "ab", ""},
		{"empty message", "\x00\x00\x00\x00\x00", "", ""},
		{"nothing", "", "", "no message"},
		{"cut prefix", "\x00\x00\x00\x00", "", "cut short"},
		{"cut message", "\x00\x00\x00\x00\x02a", "", "cut short"},
		{"longest length", "\x00\xff\xff\xff\xffa", "", "cut short"},
		{"two", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "", "more than one"},
		{"compressed", "\x01\x00\x00\x00\x02ab", "", "flags 0x1"},
	}
	for _, tt := range tests {
		got, err := cutGRPCFrame([]byte(tt.body))
		if string(got) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got %q, %v, want %q, %q", tt.name, got, err, tt.want, tt.err)
		}
	}
}

func TestGRPCStatus(t *testing.T) {
	tests := []struct{ status, message, want string }{
		{"0", "", ""},
		{"0", "fine", ""},
		{"5", "unknown%20service", `gRPC status NOT_FOUND: "unknown service"`},
		{"12", "", "gRPC status UNIMPLEMENTED"},
		{"16", "100%", `gRPC status UNAUTHENTICATED: "100%"`},
		{"17", "", "gRPC status 17"},
		{"-1", "", `invalid grpc-status "-1"`},
		{"OK", "", `invalid grpc-status "OK"`},
		{"", "", `invalid grpc-status ""`},
	}
	for _, tt := range tests {
		var fields header.Fields
		fields.Add("grpc-status", tt.status)
		fields.Add("grpc-message", tt.message)
		got := ""
		if err := grpcStatus(&fields); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("status %q, message %q: %q, want %q", tt.status, tt.message, got, tt.want)
		}
	}
	if err := grpcStatus(&header.Fields{}); err == nil {
		t.Error("no status is no error")
	}
}

func FuzzGRPCAnswer(f *testing.F) {
	for _, seed := range []string{"", "\x08\x01", "\x88\x00\x81\x80\x00", "\x22\x03abc\x08\x02", "\x00\x00\x00\x00\x02\x08\x01"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		// A frame of ours holds what was put into it, and nothing else is
		// read as a frame but what we would write.
		if got, err := cutGRPCFrame(appendGRPCFrame(nil, in)); err != nil || !bytes.Equal(got, in) {
			t.Fatalf("%q came back as %q, %v", in, got, err)
		}
		if message, err := cutGRPCFrame(in); err == nil && !bytes.Equal(appendGRPCFrame(nil, message), in) {
			t.Fatalf("%q was taken for the frame of %q", in, message)
		}
		status := parseHealth(in)
		if status < malformed {
			t.Fatalf("parseHealth(%q) = %d", in, status)
		}
		// Fields that follow a valid message are read as what they are.
		if status != malformed {
			if got := parseHealth(append(bytes.Clone(in), tagStatus, 7)); got != 7 {
				t.Fatalf("%q and status 7 is %d", in, got)
			}
		}
	})
}

func TestAppendHealthRequest(t *testing.T) {
	long := strings.Repeat("x", 200)
	tests := []struct{ service, want string }{
		{"", ""},
		{"a.B", "\x0a\x03a.B"},
		{long, "\x0a\xc8\x01" + long},
	}
	for _, tt := range tests {
		if got := string(appendHealthRequest(nil, tt.service)); got != tt.want {
			t.Errorf("request for %q = %q, want %q", tt.service, got, tt.want)
		}
	}
}
