// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/test/internal/modes"
)

// Fields that come never indexed leave so, over HTTP/2 on both sides, in heads
// and trailers and whatever hooks do to them (RFC 7541 section 6.2.3). Nothing
// else is marked, and HTTP/1 on either side has no marks.
func TestNeverIndexed(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		if !m.Down.H2 && !m.Up.H2 {
			t.Skip("HTTP/1 knows no such thing")
		}
		if !m.Down.H2 {
			neverFromHTTP1(t, m)
			return
		}
		if !m.Up.H2 {
			neverToHTTP1(t, m)
			return
		}
		seen := make(chan []string, 1)
		r := newNeverRig(t, m, seen)
		c := dialFrames(t, m.Down, r.addr)
		for i, mark := range []string{"!", "", "!"} { // one request must not mark another
			stream := uint32(2*i + 1)
			must(t, c.headers(stream, false, ":method", "POST", ":scheme", m.Down.Scheme(), ":authority", "origin.test", mark+":path", "/secret",
				mark+"x-token", "one", "x-plain", "two", mark+"x-replaced", "three", mark+"x-removed", "four", mark+"user-agent", "five"))
			must(t, c.data(stream, false, "body"))
			must(t, c.headers(stream, true, mark+"x-digest", "six", "x-end", "seven"))
			want := []string{mark + ":path=/secret", mark + "x-token=one", "x-plain=two", mark + "x-replaced=new", mark + "user-agent=five", mark + "x-digest=six", "x-end=seven"}
			if got := receive(t, "request", seen); !slices.Equal(got, want) {
				t.Errorf("request %d:\n got %q\nwant %q", i, got, want)
			}
			var got []string
			for ended := false; !ended; {
				f, err := c.next()
				must(t, err)
				got, ended = append(got, f.marked()...), f.ends()
			}
			want = []string{"!x-session=one", "x-plain=two", "!x-replaced=new", "!x-digest=six", "x-end=seven"}
			if !slices.Equal(got, want) {
				t.Errorf("response %d:\n got %q\nwant %q", i, got, want)
			}
		}
	})
}

// newNeverRig serves a proxy whose hooks replace one field and remove another,
// before an origin that tells seen what it has received.
func newNeverRig(t *testing.T, m modes.Mode, seen chan<- []string) *rig {
	addr := newScript(t, m.Up, func(nc net.Conn, _ int) {
		c, err := acceptFrames(nc)
		var got []string
		for err == nil {
			var f frame
			if f, err = c.next(); err != nil {
				return
			}
			if got = append(got, f.marked()...); !f.ends() {
				continue
			}
			seen <- got
			got = nil
			_ = c.headers(f.stream, false, ":status", "200", "!x-session", "one", "x-plain", "two", "!x-replaced", "three", "!x-removed", "four")
			_ = c.data(f.stream, false, "body")
			err = c.headers(f.stream, true, "!x-digest", "six", "x-end", "seven")
		}
	})
	edit := func(f *header.Fields) {
		if f.Has("x-replaced") {
			f.Set("X-Replaced", "new")
			f.Del("X-Removed")
		}
	}
	h := toPeers(m.Up.PeerAt(t, addr))
	h.UpstreamRequestFilter = func(_ *proxy.Session, _ *none, head *header.Request) error { edit(&head.Fields); return nil }
	h.ResponseFilter = func(_ *proxy.Session, _ *none, head *header.Response) error { edit(&head.Fields); return nil }
	return newRigWith(t, m, proxy.Config{Forwarding: proxy.Forwarding{NoXForwarded: true}}, h)
}

// marked returns the fields of HEADERS but those that say nothing here, with a
// "!" in front of those that came as literals that are never indexed.
func (f frame) marked() (list []string) {
	for _, hf := range f.fields {
		switch hf.Name {
		case ":method", ":scheme", ":authority", ":status", "date":
			continue
		}
		mark := ""
		if hf.Sensitive {
			mark = "!"
		}
		list = append(list, mark+hf.Name+"="+hf.Value)
	}
	return list
}

func neverFromHTTP1(t *testing.T, m modes.Mode) {
	seen := make(chan []string, 1)
	r := newNeverRig(t, m, seen)
	res := r.get("/", "X-Token", "one", "X-Replaced", "three", "X-Removed", "four", "Authorization", "five", "User-Agent", "")
	res.want(t, 200, "body")
	got := receive(t, "request", seen)
	slices.Sort(got)
	if want := []string{"!authorization=five", ":path=/", "x-replaced=new", "x-token=one"}; !slices.Equal(got, want) {
		t.Errorf("request %q, want %q", got, want)
	}
	if got := res.Header.Get("X-Session") + res.Header.Get("X-Replaced") + res.Header.Get("X-Removed") + res.Trailer.Get("X-Digest"); got != "onenewsix" {
		t.Errorf("response fields %q, want them without marks", res.Header)
	}
}

func neverToHTTP1(t *testing.T, m modes.Mode) {
	r, _ := newRig(t, m, tellSeen)
	c := dialFrames(t, m.Down, r.addr)
	must(t, c.get(1, "/", "!x-token", "one", "!cookie", "a="+strings.Repeat("b", 30), "!cookie", "c=d"))
	seen := parseSeen(t, c.reply(t, 1).body)
	if got := seen.Header.Get("X-Token") + " " + seen.Header.Get("Cookie"); got != "one a="+strings.Repeat("b", 30)+"; c=d" {
		t.Errorf("got %q", seen.Header)
	}
}
