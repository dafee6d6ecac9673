// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"slices"
)

// ja4 returns the JA4 fingerprint of a client: what its first message offers,
// independent of the order in which it does. See
// https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md.
//
//	t13d1516h2_8daaf6152771_e5627efa2ab1
func ja4(hello *tls.ClientHelloInfo) string {
	const (
		extServerName = 0x0000
		extALPN       = 0x0010
	)
	ciphers := withoutGrease(hello.CipherSuites)
	extensions := withoutGrease(hello.Extensions)
	out := make([]byte, 0, 36)
	out = append(out, 't')
	out = append(out, ja4Version(hello.SupportedVersions)...)
	if slices.Contains(extensions, extServerName) {
		out = append(out, 'd')
	} else {
		out = append(out, 'i')
	}
	out = appendTwoDigits(out, len(ciphers))
	out = appendTwoDigits(out, len(extensions))
	out = appendJA4ALPN(out, hello.SupportedProtos)

	slices.Sort(ciphers)
	out = append(out, '_')
	out = appendJA4Hash(out, ciphers, nil)

	extensions = slices.DeleteFunc(extensions, func(x uint16) bool { return x == extServerName || x == extALPN })
	slices.Sort(extensions)
	var schemes []uint16
	for _, s := range hello.SignatureSchemes {
		schemes = append(schemes, uint16(s))
	}
	out = append(out, '_')
	return string(appendJA4Hash(out, extensions, withoutGrease(schemes)))
}

// withoutGrease returns a copy of list without the values that clients send to
// keep servers honest (RFC 8701).
func withoutGrease(list []uint16) []uint16 {
	out := make([]uint16, 0, len(list))
	for _, v := range list {
		if v&0x0f0f != 0x0a0a || v>>8 != v&0xff {
			out = append(out, v)
		}
	}
	return out
}

// ja4Version returns the newest version that a client offers.
func ja4Version(offered []uint16) string {
	list := withoutGrease(offered)
	if len(list) == 0 {
		return "00"
	}
	switch slices.Max(list) {
	case tls.VersionTLS13:
		return "13"
	case tls.VersionTLS12:
		return "12"
	case tls.VersionTLS11:
		return "11"
	case tls.VersionTLS10:
		return "10"
	}
	return "00"
}

func appendTwoDigits(b []byte, n int) []byte {
	n = min(n, 99)
	return append(b, '0'+byte(n/10), '0'+byte(n%10))
}

// appendJA4ALPN appends the first and last letter of the first protocol that
// a client offers, or of its bytes in hexadecimal if these are not letters.
func appendJA4ALPN(b []byte, protos []string) []byte {
	if len(protos) == 0 || protos[0] == "" {
		return append(b, "00"...)
	}
	p := protos[0]
	first, last := p[0], p[len(p)-1]
	if !alphanumeric(first) || !alphanumeric(last) {
		const digits = "0123456789abcdef"
		first, last = digits[first>>4], digits[last&0x0f]
	}
	return append(b, first, last)
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// appendJA4Hash appends the first 12 digits of the SHA-256 of a list and,
// after an underscore, a second one if it has any.
func appendJA4Hash(b []byte, list, second []uint16) []byte {
	if len(list) == 0 {
		return append(b, "000000000000"...)
	}
	text := make([]byte, 0, 5*(len(list)+len(second)))
	text = appendHexList(text, list)
	if len(second) > 0 {
		text = appendHexList(append(text, '_'), second)
	}
	sum := sha256.Sum256(text)
	return hex.AppendEncode(b, sum[:6])
}

func appendHexList(b []byte, list []uint16) []byte {
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = hex.AppendEncode(b, []byte{byte(v >> 8), byte(v)})
	}
	return b
}
