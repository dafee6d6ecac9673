// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/belay-proxy/belay/header"
)

// What gRPC and Protocol Buffers put around one string and one number, by
// hand: that is less than a dependency.

// The field tags of HealthCheckRequest.service and HealthCheckResponse.status:
// the number of the field, 1, in the upper bits, how it is encoded in the lower
// three.
const (
	tagService = 1<<3 | wireBytes
	tagStatus  = 1<<3 | wireVarint
)

// How a field is encoded.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// appendHealthRequest appends a HealthCheckRequest.
func appendHealthRequest(dst []byte, service string) []byte {
	if service == "" {
		return dst // the default is left out
	}
	dst = append(dst, tagService)
	dst = binary.AppendUvarint(dst, uint64(len(service)))
	return append(dst, service...)
}

// The values of HealthCheckResponse.status. One that is not valid protobuf is
// malformed.
const (
	malformed = -1
	serving   = 1
)

// servingName returns the name of a status.
func servingName(status int) string {
	switch status {
	case malformed:
		return "answering with a malformed message"
	case 0:
		return "UNKNOWN"
	case serving:
		return "SERVING"
	case 2:
		return "NOT_SERVING"
	case 3:
		return "SERVICE_UNKNOWN"
	}
	return "in state " + strconv.Itoa(status)
}

// parseHealth returns the status in a HealthCheckResponse. Fields that it does
// not know are passed over, and of several the last one counts, as the
// encoding wants it.
func parseHealth(message []byte) (status int) {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 || tag>>3 == 0 {
			return malformed
		}
		message = message[n:]
		size := 0
		switch tag & 7 {
		case wireVarint:
			value, n := binary.Uvarint(message)
			if n <= 0 {
				return malformed
			}
			if size = n; tag == tagStatus {
				status = int(int32(value))
			}
		case wireFixed64:
			size = 8
		case wireBytes:
			length, n := binary.Uvarint(message)
			if n <= 0 || length > uint64(len(message)-n) {
				return malformed
			}
			size = n + int(length)
		case wireFixed32:
			size = 4
		default:
			return malformed
		}
		if size > len(message) {
			return malformed
		}
		message = message[size:]
	}
	if status < 0 {
		return malformed
	}
	return status
}

// grpcPrefix is the size of what precedes a message: a byte that says whether
// it is compressed, and its length.
const grpcPrefix = 5

// appendGRPCFrame appends a message with its prefix.
func appendGRPCFrame(dst, message []byte) []byte {
	dst = append(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(message)))
	return append(dst, message...)
}

// cutGRPCFrame returns the one message in body.
func cutGRPCFrame(body []byte) (message []byte, err error) {
	switch {
	case len(body) == 0:
		return nil, errors.New("no message in the answer")
	case len(body) < grpcPrefix:
		return nil, errors.New("message cut short")
	case body[0] != 0:
		return nil, fmt.Errorf("message with flags %#x, want 0: no compression was offered", body[0])
	}
	length, message := binary.BigEndian.Uint32(body[1:]), body[grpcPrefix:]
	switch {
	case uint64(length) > uint64(len(message)):
		return nil, errors.New("message cut short")
	case uint64(length) < uint64(len(message)):
		return nil, errors.New("more than one message")
	}
	return message, nil
}

// codeNames are the names of the status codes of gRPC.
var codeNames = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
	"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// grpcStatus returns an error unless fields have the status OK.
func grpcStatus(fields *header.Fields) error {
	value, ok := fields.Lookup("Grpc-Status")
	if !ok {
		return errors.New("answer without grpc-status")
	}
	code, err := strconv.ParseUint(value, 10, 31)
	switch {
	case err != nil:
		return fmt.Errorf("invalid grpc-status %q", value)
	case code == 0:
		return nil
	}
	text := strconv.FormatUint(code, 10)
	if code < uint64(len(codeNames)) {
		text = codeNames[code]
	}
	message := fields.Get("Grpc-Message")
	if plain, err := url.PathUnescape(message); err == nil {
		message = plain
	}
	if message == "" {
		return fmt.Errorf("gRPC status %s", text)
	}
	return fmt.Errorf("gRPC status %s: %q", text, message)
}
