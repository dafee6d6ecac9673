// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import (
	"net/url"
	"strings"
	"testing"
)

func TestValidHost(t *testing.T) {
	t.Parallel()
	valid := []string{
		"a", "example.com", "EXAMPLE.com.", "example.com:80", "example.com:0", "example.com:65535", "example.com:00080", "example.com:",
		"127.0.0.1", "127.0.0.1:8080", "999.1.1.1", "under_score.test", "xn--bcher-kva.test", "a-b.c~d", "a!b$c&d'e(f)g*h+i;j=k",
		"[::1]", "[::1]:443", "[::1]:", "[2001:DB8::17]", "[::ffff:1.2.3.4]:1", "[0000:0000:0000:0000:0000:ffff:255.255.255.255]",
	}
	for _, s := range valid {
		if !ValidHost(s) {
			t.Errorf("ValidHost(%q) = false, want true", s)
		}
	}
	invalid := []string{
		"", ":", ":80", "a b", " a", "a ", "a\t", "a\r\n", "a\x00", "a,b", "a.test,b.test",
		"user@a", "user:pw@a", "a/b", "a?b", "a#b", "a\\b", "http://a", "a:80:80", "a:8x", "a:+80", "a:-1", "a:65536", "a:99999",
		"a:18446744073709551696", "a: 80", "a:80 ", "a%41", "%", "<a>", `"a"`, "a|b", "a^b", "{a}", "`a`", "\u00fc.test", "\xff",
		"::1", "fe80::1", "[", "]", "[]", "[]:80", "[::1", "[::1]80", "[::1]x", "[::1]:x", "[::1]:65536", "[::1%25eth0]", "[::1%eth0]",
		"[127.0.0.1]", "[v1.a]", "[:::1]", "a[::1]", "[::1][::1]", "[" + strings.Repeat("0", 100) + "::1]",
	}
	for _, s := range invalid {
		if ValidHost(s) {
			t.Errorf("ValidHost(%q) = true, want false", s)
		}
	}
}

func FuzzValidHost(f *testing.F) {
	for _, s := range []string{"example.com:80", "[::1]:443", "a@b", "a,b", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !ValidHost(s) {
			return
		}
		if strings.ContainsAny(s, "@/?#\\,%<>\"`{}|^ \t\r\n\x00") {
			t.Errorf("ValidHost(%q) = true", s)
		}
		u, err := url.Parse("http://" + s + "/p?q")
		if err != nil {
			t.Fatalf("ValidHost(%q) = true, but in a URL it gives %v", s, err)
		}
		if u.Host != s || u.User != nil || u.Path != "/p" || u.Hostname() == "" {
			t.Errorf("%q in a URL is read as host %q, user %v, path %q", s, u.Host, u.User, u.Path)
		}
	})
}
