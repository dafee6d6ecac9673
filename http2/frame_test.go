// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"errors"
	"testing"
)

func TestFrameHeader(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want frameHeader
		ok   bool
	}{
		{"", frameHeader{}, false},
		{"\x00\x00\x00\x00\x00\x00\x00\x00", frameHeader{}, false},
		{"\x00\x00\x00\x00\x00\x00\x00\x00\x00", frameHeader{}, true},
		{"\x01\x02\x03\x04\x05\x06\x07\x08\x09", frameHeader{0x010203, 4, 5, 0x06070809}, true},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff", frameHeader{1<<24 - 1, 255, 255, 1<<31 - 1}, true}, // the reserved bit is ignored
	}
	for _, tt := range tests {
		got, ok := consumeFrameHeader([]byte(tt.in))
		if got != tt.want || ok != tt.ok {
			t.Errorf("consumeFrameHeader(%q) = %v, %v, want %v, %v", tt.in, got, ok, tt.want, tt.ok)
		}
		if again, _ := consumeFrameHeader(appendFrameHeader(nil, got)); again != got {
			t.Errorf("%v was written and read as %v", got, again)
		}
	}
}

func TestAppendFrames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"RST_STREAM", appendRSTStream(nil, 3, Cancel), "\x00\x00\x04\x03\x00\x00\x00\x00\x03\x00\x00\x00\x08"},
		{"WINDOW_UPDATE", appendWindowUpdate(nil, 5, 1<<31-1), "\x00\x00\x04\x08\x00\x00\x00\x00\x05\x7f\xff\xff\xff"},
		{"PING", appendPing(nil, flagAck, []byte("12345678")), "\x00\x00\x08\x06\x01\x00\x00\x00\x0012345678"},
		{"GOAWAY", appendGoAway(nil, 7, ProtocolError, "why"), "\x00\x00\x0b\x07\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x01why"},
		{"SETTINGS", appendSettings(nil, setting{settingEnablePush, 1}), "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x01"},
		{"acknowledgement", appendSettingsAck(nil), "\x00\x00\x00\x04\x01\x00\x00\x00\x00"},
	}
	for _, tt := range tests {
		if string(tt.got) != tt.want {
			t.Errorf("%s = %q, want %q", tt.name, tt.got, tt.want)
		}
	}
	want := setting{settingMaxFrameSize, 1 << 20}
	if got := consumeSetting(appendSettings(nil, want)[frameHeaderLen:]); got != want {
		t.Errorf("setting %v was read as %v", want, got)
	}
}

func TestUnpad(t *testing.T) {
	t.Parallel()
	tests := []struct {
		flags uint8
		in    string
		want  string
		code  ErrCode // of the error; NoError for none
	}{
		{0, "\x02ab", "\x02ab", NoError},
		{flagPadded, "\x00ab", "ab", NoError},
		{flagPadded, "\x02abxx", "ab", NoError},
		{flagPadded, "\x02xx", "", NoError},
		{flagPadded, "\x03xx", "", ProtocolError},
		{flagPadded, "", "", FrameSizeError},
	}
	for _, tt := range tests {
		got, err := unpad(frameHeader{flags: tt.flags}, []byte(tt.in))
		code := NoError
		if ce, ok := errors.AsType[*connError](err); ok {
			code = ce.code
		}
		if !bytes.Equal(got, []byte(tt.want)) || code != tt.code {
			t.Errorf("unpad(%#x, %q) = %q, %v, want %q, %v", tt.flags, tt.in, got, err, tt.want, tt.code)
		}
	}
}

func TestErrCodeString(t *testing.T) {
	t.Parallel()
	for code, want := range map[ErrCode]string{
		NoError: "NO_ERROR", EnhanceYourCalm: "ENHANCE_YOUR_CALM", HTTP11Required: "HTTP_1_1_REQUIRED", 0xe: "error code 14",
	} {
		if got := code.String(); got != want {
			t.Errorf("ErrCode(%d).String() = %q, want %q", uint32(code), got, want)
		}
	}
}
