// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const haveRaw = true

// The calls here are raw: the scheduler is not told of them. They are made on
// non-blocking descriptors and return within microseconds, so that there is
// nothing for it to do meanwhile; telling it costs 2 % of a request. The socket
// calls take a shorter way through the kernel than read and write.

// recv reads from the non-blocking descriptor fd.
func recv(fd uintptr, p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0 && n > 0:
			return int(n), nil
		case errno == 0:
			return 0, io.EOF
		case errno == syscall.EAGAIN:
			return 0, ErrAgain
		case errno != syscall.EINTR:
			return 0, os.NewSyscallError("recv", errno)
		}
	}
}

// showEnd makes recvShown work on fd. Only TCP can.
func showEnd(fd uintptr) bool {
	return unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_INQ, 1) == nil
}

// inqMessage is the control message that says how much is left to receive. It is
// 1 if that is the end of the stream.
type inqMessage struct {
	unix.Cmsghdr
	left int32
	_    int32
}

// recvShown is recv, and reports whether bytes or the end are left behind.
func recvShown(fd uintptr, p []byte) (n int, more bool, err error) {
	vec := unix.Iovec{Base: unsafe.SliceData(p)}
	vec.SetLen(len(p))
	for {
		var inq inqMessage
		msg := unix.Msghdr{Iov: &vec, Control: (*byte)(unsafe.Pointer(&inq))}
		msg.SetIovlen(1)
		msg.SetControllen(int(unsafe.Sizeof(inq)))
		n, _, errno := syscall.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&msg)), unix.MSG_DONTWAIT)
		switch {
		case errno == 0 && n > 0:
			return int(n), msg.Controllen == 0 || inq.left != 0, nil
		case errno == 0:
			return 0, true, io.EOF
		case errno == syscall.EAGAIN:
			return 0, false, ErrAgain
		case errno != syscall.EINTR:
			return 0, true, os.NewSyscallError("recv", errno)
		}
	}
}

// rawWrite is the number of bytes up to which a write is made raw. The system
// copies them, and on the loopback device receives them too, before it
// returns.
const rawWrite = 16 << 10

// send writes the parts to the non-blocking descriptor fd, as one.
func send(fd uintptr, parts *[3][]byte) (n int, err error) {
	var vec [3]unix.Iovec
	var msg unix.Msghdr
	count, total := 0, 0
	for _, p := range parts {
		if len(p) > 0 {
			vec[count].Base = unsafe.SliceData(p)
			vec[count].SetLen(len(p))
			count++
			total += len(p)
		}
	}
	msg.Iov = &vec[0]
	msg.SetIovlen(count)
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	for {
		var r uintptr
		var errno syscall.Errno
		switch {
		case total > rawWrite:
			r, _, errno = syscall.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&msg)), flags)
		case count > 1:
			r, _, errno = syscall.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&msg)), flags)
		default:
			r, _, errno = syscall.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(vec[0].Base)), uintptr(total), flags, 0, 0)
		}
		switch errno {
		case 0:
			return int(r), nil
		case syscall.EAGAIN:
			return 0, ErrAgain
		case syscall.EINTR:
		default:
			return 0, os.NewSyscallError("send", errno)
		}
	}
}

// peek looks at what a read would find.
func peek(fd uintptr) IdleState {
	var b [1]byte
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1,
			unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			return Quiet
		case errno != 0 || n == 0:
			return PeerClosed
		default:
			return HasData
		}
	}
}

// ended reports whether the other side has closed its end or reset the
// connection, with no more than unread bytes in front of the end.
func ended(fd uintptr, unread int) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	for {
		n, err := unix.Poll(poll, 0)
		if err == syscall.EINTR {
			continue
		}
		if n != 1 || err != nil {
			return false
		}
		waiting, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
		return err != nil || waiting <= unread
	}
}
