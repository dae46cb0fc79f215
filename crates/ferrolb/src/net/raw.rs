//! AF_PACKET sockets (packet(7)): whole Ethernet frames of one EtherType on one interface, filtered by the kernel.
//!
//! The order matters: a socket is opened without a protocol, so that nothing is queued; then it gets its filter; then it
//! is bound. The other way round it would first collect frames that the filter refuses.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use ferrolb_proto::arp::filter::Instruction;
use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

/// A socket for frames of one EtherType on one interface. Frames that this host sends itself are not seen.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
}

impl PacketSocket {
    /// Opens a socket on the interface with this index.
    ///
    /// # Errors
    /// The process lacks CAP_NET_RAW, the interface is gone, or the kernel does not take the filter.
    pub fn open(interface: u32, ethertype: u16, filter: &[Instruction]) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        let socket = Self { socket };
        socket.set_filter(filter)?;
        socket.socket.bind(&address(interface, ethertype))?;
        Ok(socket)
    }

    /// Replaces the filter. No frame is lost or let through in between.
    ///
    /// # Errors
    /// The kernel does not take it.
    pub fn set_filter(&self, filter: &[Instruction]) -> io::Result<()> {
        let program: Vec<SockFilter> =
            filter.iter().map(|one| SockFilter::new(one.code, one.jt, one.jf, one.k)).collect();
        self.socket.attach_filter(&program)
    }

    /// Has the interface hear every frame, whomever it is for, as long as this socket is open (packet(7)).
    ///
    /// # Errors
    /// The interface is gone.
    pub fn hear_everything(&self, interface: u32) -> io::Result<()> {
        let request = libc::packet_mreq {
            mr_ifindex: i32::try_from(interface).unwrap_or_default(),
            mr_type: u16::try_from(libc::PACKET_MR_PROMISC).unwrap_or_default(),
            mr_alen: 0,
            mr_address: [0; 8],
        };
        let length = u32::try_from(size_of::<libc::packet_mreq>()).unwrap_or_default();
        let (level, name, value) = (libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &raw const request);
        // SAFETY: the option's value is a packet_mreq, which lives until the call is over, and the length is its length.
        let result = unsafe { libc::setsockopt(self.socket.as_raw_fd(), level, name, value.cast(), length) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Reads one frame; `None` where there is none. A longer frame is cut off at the end of the buffer.
    ///
    /// # Errors
    /// The interface went down or away.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.socket).read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends one frame, Ethernet header included.
    ///
    /// # Errors
    /// The interface is down or away, or its queue is full.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(drop)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The `sockaddr_ll` of an interface and an EtherType.
fn address(interface: u32, ethertype: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is plain data, fits into sockaddr_storage, and zero is a valid value for all of it.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
    link.sll_protocol = ethertype.to_be();
    link.sll_ifindex = i32::try_from(interface).unwrap_or_default();
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
    // SAFETY: the storage holds the sockaddr_ll written above, and the length is its length.
    unsafe { SockAddr::new(storage, length) }
}
