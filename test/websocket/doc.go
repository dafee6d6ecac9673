// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package websocket tests WebSockets (RFC 6455) through a proxy, between any
// two versions of HTTP: by Upgrade on HTTP/1.1 and by extended CONNECT (RFC
// 8441) on HTTP/2. Client and server write and read single WebSocket frames,
// and every byte is compared.
package websocket
