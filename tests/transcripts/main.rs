//! The real program on the wire, word for word: scripted mail servers on one side, raw sockets on the other.
//!
//! Neither side knows a protocol. A script says what a mail server says and hears; a test says what a mail program does. So what
//! the program makes up between them is what is tested, and nothing else.

mod certificates;
mod house;
mod mail_program;
mod proxy;
mod scripts;
mod sign_in;
mod upstream;
mod words;

mod devices;
mod doctor;
mod egress;
mod hostile_servers;
mod limits;
mod local_tls;
mod logins;
mod proxied;
mod refusals;
mod relaying;
mod secrecy;
mod storms;
mod strangers;
