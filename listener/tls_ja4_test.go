// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"crypto/tls"
	"slices"
	"testing"
)

// chrome is the client in the description of JA4.
func chrome() *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		CipherSuites: []uint16{0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035},
		Extensions: []uint16{0x3a3a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b,
			0x000a, 0x0015, 0xcaca},
		SignatureSchemes:  []tls.SignatureScheme{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601},
		SupportedVersions: []uint16{0x7a7a, 0x0304, 0x0303},
		SupportedProtos:   []string{"h2", "http/1.1"},
	}
}

func TestJA4(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*tls.ClientHelloInfo)
		want   string
	}{
		{"the example", func(*tls.ClientHelloInfo) {}, "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{"other order", func(h *tls.ClientHelloInfo) { slices.Reverse(h.CipherSuites); slices.Reverse(h.Extensions) },
			"t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{"no protocols", func(h *tls.ClientHelloInfo) { h.SupportedProtos = nil }, "t13d151600_8daaf6152771_e5627efa2ab1"},
		{"http/1.1", func(h *tls.ClientHelloInfo) { h.SupportedProtos = []string{"http/1.1"} }, "t13d1516h1_8daaf6152771_e5627efa2ab1"},
		{"odd protocol", func(h *tls.ClientHelloInfo) { h.SupportedProtos = []string{"\xab\xcd"} }, "t13d1516ad_8daaf6152771_e5627efa2ab1"},
		{"one letter", func(h *tls.ClientHelloInfo) { h.SupportedProtos = []string{"x"} }, "t13d1516xx_8daaf6152771_e5627efa2ab1"},
		{"older", func(h *tls.ClientHelloInfo) { h.SupportedVersions = []uint16{0x0303} }, "t12d1516h2_8daaf6152771_e5627efa2ab1"},
		{"nothing", func(h *tls.ClientHelloInfo) { *h = tls.ClientHelloInfo{} }, "t00i000000_000000000000_000000000000"},
	}
	for _, tt := range tests {
		h := chrome()
		tt.change(h)
		if got := ja4(h); got != tt.want {
			t.Errorf("%s: JA4 is %s, want %s", tt.name, got, tt.want)
		}
	}
	many := chrome()
	many.Extensions = make([]uint16, 200)
	if got, want := ja4(many)[:10], "t13d1599h2"; got != want {
		t.Errorf("with 200 extensions JA4 starts with %s, want %s", got, want)
	}
}

func BenchmarkJA4(b *testing.B) {
	h := chrome()
	b.ReportAllocs()
	for b.Loop() {
		ja4(h)
	}
}
