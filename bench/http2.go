// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Frame types and flags of RFC 9113, section 6, as far as one exchange on a
// connection needs them.
const (
	h2Data     = 0x0
	h2Headers  = 0x1
	h2Reset    = 0x3
	h2Settings = 0x4
	h2GoAway   = 0x7

	h2FlagEndStream  = 0x1 // of DATA and HEADERS
	h2FlagAck        = 0x1 // of SETTINGS
	h2FlagEndHeaders = 0x4
)

// h2Request returns all that a client sends for one GET on stream 1 of a new
// connection: the preface, empty SETTINGS and HEADERS. No field enters a
// dynamic table, and no string is longer than 126 bytes.
func h2Request(target, scheme string) []byte {
	fields := [][2]string{
		{":method", "GET"}, {":scheme", scheme}, {":authority", hostSent}, {":path", target},
		{"user-agent", userAgent}, {"accept", "*/*"}, {"cookie", "session=4f3c2b1a09f8e7d6"},
	}
	var block []byte
	for _, f := range fields {
		block = append(block, 0, byte(len(f[0]))) // literal without indexing, new name: RFC 7541, section 6.2.2
		block = append(block, f[0]...)
		block = append(block, byte(len(f[1])))
		block = append(block, f[1]...)
	}
	b := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	b = appendFrame(b, h2Settings, 0, 0, nil)
	return appendFrame(b, h2Headers, h2FlagEndStream|h2FlagEndHeaders, 1, block)
}

// appendFrame appends a frame (RFC 9113, section 4.1).
func appendFrame(b []byte, kind, flags byte, stream uint32, payload []byte) []byte {
	b = append(b, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload)), kind, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(b, payload...)
}

// h2Exchange sends request, which h2Request has made, on a new connection and
// reads the response, which must have status 200 and want bytes of body. It
// acknowledges the proxy's settings.
func h2Exchange(conn io.ReadWriter, request []byte, want int64) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	in := bufio.NewReaderSize(conn, 1<<10)
	var body int64
	for {
		kind, flags, payload, err := readFrame(in)
		if err != nil {
			return err
		}
		switch kind {
		case h2Settings:
			if flags&h2FlagAck == 0 {
				if _, err := conn.Write(appendFrame(nil, h2Settings, h2FlagAck, 0, nil)); err != nil {
					return err
				}
			}
		case h2Headers:
			if !isStatus200(payload) {
				return errors.New("the response does not start with :status 200")
			}
		case h2Data:
			body += int64(len(payload))
		case h2Reset, h2GoAway:
			return fmt.Errorf("frame of type %d instead of a response", kind)
		}
		if (kind == h2Data || kind == h2Headers) && flags&h2FlagEndStream != 0 {
			if body != want {
				return fmt.Errorf("response has %d bytes, want %d", body, want)
			}
			return nil
		}
	}
}

// readFrame reads one frame of at most 16 KiB, of any stream.
func readFrame(in *bufio.Reader) (kind, flags byte, payload []byte, err error) {
	var head [9]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, 0, nil, err
	}
	length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	if length > 16<<10 {
		return 0, 0, nil, fmt.Errorf("frame has %d bytes, want at most 16 KiB", length)
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(in, payload)
	return head[3], head[4], payload, err
}

// isStatus200 reports whether a field block starts with the entry 8 of the
// static table, after any changes of the dynamic table's size.
func isStatus200(block []byte) bool {
	for len(block) > 0 && block[0]&0xe0 == 0x20 { // RFC 7541, section 6.3
		if block[0]&0x1f == 0x1f {
			for block = block[1:]; len(block) > 0 && block[0]&0x80 != 0; block = block[1:] {
			}
			if len(block) == 0 {
				return false
			}
		}
		block = block[1:]
	}
	return len(block) > 0 && block[0] == 0x88
}
