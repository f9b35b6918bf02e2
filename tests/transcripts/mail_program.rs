//! A mail program that knows no protocol: a raw socket with expectations.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Stream};
use socket2::{Domain, SockRef, Socket, Type};

use super::upstream::PATIENCE;

pub struct MailProgram {
    socket: TcpStream,
    tls: Option<ClientConnection>,
}

impl MailProgram {
    pub fn connect(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).unwrap())
    }

    /// The same from an address of our choice.
    pub fn connect_from(source: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::of(socket.into())
    }

    fn of(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, tls: None }
    }

    /// Shakes hands, whatever comes of it.
    pub fn secures(&mut self, config: &Arc<ClientConfig>, name: &str) -> io::Result<()> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut self.socket)?;
        }
        self.tls = Some(tls);
        Ok(())
    }

    /// The handshake that was made.
    pub fn tls(&self) -> &ClientConnection {
        self.tls.as_ref().unwrap()
    }

    pub fn says(&mut self, bytes: impl AsRef<[u8]>) {
        match &mut self.tls {
            None => self.socket.write_all(bytes.as_ref()),
            Some(tls) => Stream::new(tls, &mut self.socket).write_all(bytes.as_ref()),
        }
        .unwrap();
    }

    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read(out),
            Some(tls) => Stream::new(tls, &mut self.socket).read(out),
        }
    }

    /// Says it octet by octet, each in a segment of its own as far as the system lets us.
    pub fn drips(&mut self, bytes: impl AsRef<[u8]>) {
        bytes.as_ref().chunks(1).for_each(|octet| self.says(octet));
    }

    /// Says as much as the program takes before it hangs up, and tells how much that was.
    pub fn floods(&mut self, bytes: &[u8]) -> usize {
        let mut said = 0;
        while said < bytes.len() {
            match self
                .socket
                .write(&bytes[said..bytes.len().min(said + 4096)])
            {
                Ok(count) => said += count,
                Err(_) => break,
            }
        }
        said
    }

    /// Hears exactly this next.
    #[track_caller]
    pub fn hears(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut heard = Vec::new();
        let mut octet = [0];
        while heard.len() < expected.len() && expected.starts_with(&heard) {
            match self.read(&mut octet) {
                Ok(1) => heard.push(octet[0]),
                _ => break,
            }
        }
        assert_eq!(
            heard.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }

    /// Reads so many octets.
    pub fn reads(&mut self, count: usize) -> Vec<u8> {
        let mut heard = vec![0; count];
        self.socket.read_exact(&mut heard).unwrap();
        heard
    }

    /// Hears nothing more, because the program has closed; a reset is as good, since we may have said too much.
    #[track_caller]
    pub fn is_hung_up_on(&mut self) {
        let mut rest = Vec::new();
        match self.socket.read_to_end(&mut rest) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("not hung up on"),
            _ => assert_eq!(rest.escape_ascii().to_string(), ""),
        }
    }

    /// Everything until the program closes.
    pub fn hears_out(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.socket.read_to_end(&mut rest); // a reset ends it as well
        rest
    }

    /// Hears good-bye as TLS wants it, and nothing before it.
    #[track_caller]
    pub fn is_dismissed(&mut self) {
        let mut octet = [0];
        assert_eq!(self.read(&mut octet).unwrap(), 0);
    }

    /// Has nothing more to say, and still listens.
    pub fn falls_silent(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Goes without a good-bye, so that whatever is said to it comes back as an error.
    pub fn breaks_off(self) {
        SockRef::from(&self.socket)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// A second handle of the same connection.
    pub fn twin(&self) -> Self {
        Self {
            socket: self.socket.try_clone().unwrap(),
            tls: None,
        }
    }
}
