// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// preface is what a client sends first (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// frameType is the type of a frame (RFC 9113 section 6).
type frameType uint8

const (
	frameData           frameType = 0x0
	frameHeaders        frameType = 0x1
	framePriority       frameType = 0x2
	frameRSTStream      frameType = 0x3
	frameSettings       frameType = 0x4
	framePushPromise    frameType = 0x5
	framePing           frameType = 0x6
	frameGoAway         frameType = 0x7
	frameWindowUpdate   frameType = 0x8
	frameContinuation   frameType = 0x9
	framePriorityUpdate frameType = 0x10 // RFC 9218 section 7.1
)

// The flags of frames.
const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// An ErrCode is an HTTP/2 error code (RFC 9113 section 7).
type ErrCode uint32

// The error codes.
const (
	NoError            ErrCode = 0x0
	ProtocolError      ErrCode = 0x1
	InternalError      ErrCode = 0x2
	FlowControlError   ErrCode = 0x3
	SettingsTimeout    ErrCode = 0x4
	StreamClosed       ErrCode = 0x5
	FrameSizeError     ErrCode = 0x6
	RefusedStream      ErrCode = 0x7
	Cancel             ErrCode = 0x8
	CompressionError   ErrCode = 0x9
	ConnectError       ErrCode = 0xa
	EnhanceYourCalm    ErrCode = 0xb
	InadequateSecurity ErrCode = 0xc
	HTTP11Required     ErrCode = 0xd
)

var errCodeNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
	"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
	"INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// String returns the code's name in RFC 9113.
func (c ErrCode) String() string {
	if int(c) < len(errCodeNames) {
		return errCodeNames[c]
	}
	return fmt.Sprintf("error code %d", uint32(c))
}

// frameHeaderLen is the size of the fixed part of a frame, in bytes.
const frameHeaderLen = 9

// minMaxFrame and maxMaxFrame bound SETTINGS_MAX_FRAME_SIZE, in bytes.
const (
	minMaxFrame = 1 << 14
	maxMaxFrame = 1<<24 - 1
)

// A frameHeader is the fixed part of a frame (RFC 9113 section 4.1).
type frameHeader struct {
	length int
	typ    frameType
	flags  uint8
	stream uint32
}

func (h frameHeader) has(flag uint8) bool { return h.flags&flag != 0 }

// consumeFrameHeader parses the frame header at the start of b. ok is false
// if b is too short for one. The reserved bit of the stream id is ignored.
func consumeFrameHeader(b []byte) (h frameHeader, ok bool) {
	if len(b) < frameHeaderLen {
		return frameHeader{}, false
	}
	return frameHeader{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		typ:    frameType(b[3]),
		flags:  b[4],
		stream: binary.BigEndian.Uint32(b[5:]) &^ (1 << 31),
	}, true
}

// appendFrameHeader appends h to dst.
func appendFrameHeader(dst []byte, h frameHeader) []byte {
	dst = append(dst, byte(h.length>>16), byte(h.length>>8), byte(h.length), byte(h.typ), h.flags)
	return binary.BigEndian.AppendUint32(dst, h.stream)
}

func appendRSTStream(dst []byte, stream uint32, code ErrCode) []byte {
	dst = appendFrameHeader(dst, frameHeader{length: 4, typ: frameRSTStream, stream: stream})
	return binary.BigEndian.AppendUint32(dst, uint32(code))
}

func appendWindowUpdate(dst []byte, stream uint32, n int64) []byte {
	dst = appendFrameHeader(dst, frameHeader{length: 4, typ: frameWindowUpdate, stream: stream})
	return binary.BigEndian.AppendUint32(dst, uint32(n))
}

func appendPing(dst []byte, flags uint8, data []byte) []byte {
	dst = appendFrameHeader(dst, frameHeader{length: 8, typ: framePing, flags: flags})
	return append(dst, data[:8]...)
}

func appendGoAway(dst []byte, last uint32, code ErrCode, debug string) []byte {
	dst = appendFrameHeader(dst, frameHeader{length: 8 + len(debug), typ: frameGoAway})
	dst = binary.BigEndian.AppendUint32(dst, last)
	dst = binary.BigEndian.AppendUint32(dst, uint32(code))
	return append(dst, debug...)
}

func appendSettingsAck(dst []byte) []byte {
	return appendFrameHeader(dst, frameHeader{typ: frameSettings, flags: flagAck})
}

// settingID names a setting (RFC 9113 section 6.5.2).
type settingID uint16

const (
	settingHeaderTableSize      settingID = 0x1
	settingEnablePush           settingID = 0x2
	settingMaxConcurrentStreams settingID = 0x3
	settingInitialWindowSize    settingID = 0x4
	settingMaxFrameSize         settingID = 0x5
	settingMaxHeaderListSize    settingID = 0x6
	settingEnableConnect        settingID = 0x8 // RFC 8441
	settingNoRFC7540Priorities  settingID = 0x9 // RFC 9218
)

type setting struct {
	id    settingID
	value uint32
}

func appendSettings(dst []byte, settings ...setting) []byte {
	dst = appendFrameHeader(dst, frameHeader{length: 6 * len(settings), typ: frameSettings})
	for _, s := range settings {
		dst = binary.BigEndian.AppendUint16(dst, uint16(s.id))
		dst = binary.BigEndian.AppendUint32(dst, s.value)
	}
	return dst
}

// consumeSetting parses one setting of at least 6 bytes.
func consumeSetting(b []byte) setting {
	return setting{settingID(binary.BigEndian.Uint16(b)), binary.BigEndian.Uint32(b[2:])}
}

// A connError ends a connection.
type connError struct {
	code ErrCode
	why  string
}

func (e *connError) Error() string { return "http2: " + e.code.String() + ": " + e.why }

// A streamError ends a stream.
type streamError struct {
	code ErrCode
	why  string
}

func (e *streamError) Error() string { return "http2: stream " + e.code.String() + ": " + e.why }

// CodeOf returns the code of a mistake of the peer for which a stream or a
// connection was ended, and NoError for any other error.
func CodeOf(err error) ErrCode {
	if e, ok := errors.AsType[*connError](err); ok {
		return e.code
	}
	if e, ok := errors.AsType[*streamError](err); ok {
		return e.code
	}
	return NoError
}

// unpad returns the payload of a DATA or HEADERS frame without its padding.
func unpad(h frameHeader, p []byte) ([]byte, error) {
	if !h.has(flagPadded) {
		return p, nil
	}
	if len(p) < 1 {
		return nil, &connError{FrameSizeError, "padded frame without a pad length"}
	}
	pad := int(p[0])
	if p = p[1:]; pad > len(p) {
		return nil, &connError{ProtocolError, "more padding than payload"}
	}
	return p[:len(p)-pad], nil
}
