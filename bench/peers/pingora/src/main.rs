// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//! A round-robin proxy on Pingora that does the work of the other peers of the
//! benchmark: it rewrites Host, sets the X-Forwarded fields, uses the backends
//! in turn over kept connections and logs nothing.
//!
//! ```text
//! pingora-peer --listen 127.0.0.1:8080 --to 127.0.0.1:3001 [--to …] --host example.com
//!     [--threads 1] [--pool 1024] [--h2c | --cert FILE --key FILE]
//! ```

use std::{env, process};

use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::http::RequestHeader;
use pingora::lb::{selection::RoundRobin, LoadBalancer};
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::{Error, HttpPeer, ProxyHttp, Result, Server, Session};
use pingora::proxy::ProxyServiceBuilder;
use pingora::server::configuration::ServerConf;
use pingora::tls::ssl::{SslOptions, SslSessionCacheMode, SslVersion};

/// What the command line says.
#[derive(Default)]
struct Options {
    listen: String,
    to: Vec<String>,
    host: String,
    threads: usize,
    pool: usize,
    h2c: bool,
    cert: String,
    key: String,
}

impl Options {
    /// Reads the arguments of the process.
    fn parse() -> std::result::Result<Options, String> {
        let mut opts = Options {
            threads: 1,
            pool: 1024,
            ..Default::default()
        };
        let mut args = env::args().skip(1);
        while let Some(flag) = args.next() {
            if flag == "--h2c" {
                opts.h2c = true;
                continue;
            }
            let value = args.next().ok_or(format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--listen" => opts.listen = value,
                "--to" => opts.to.push(value),
                "--host" => opts.host = value,
                "--threads" => {
                    opts.threads = value.parse().map_err(|e| format!("--threads: {e}"))?
                }
                "--pool" => opts.pool = value.parse().map_err(|e| format!("--pool: {e}"))?,
                "--cert" => opts.cert = value,
                "--key" => opts.key = value,
                _ => return Err(format!("unknown flag {flag}")),
            }
        }
        if opts.listen.is_empty() || opts.to.is_empty() || opts.host.is_empty() {
            return Err("needs --listen, --to and --host".into());
        }
        if opts.cert.is_empty() != opts.key.is_empty() {
            return Err("--cert and --key go together".into());
        }
        Ok(opts)
    }

    fn tls(&self) -> bool {
        !self.cert.is_empty()
    }

    /// TLS 1.3 with one cipher suite and one group, without resumption; HTTP/2
    /// for clients that offer it.
    fn tls_settings(&self) -> std::result::Result<TlsSettings, Box<dyn std::error::Error>> {
        let mut tls = TlsSettings::intermediate(&self.cert, &self.key)?;
        tls.enable_h2();
        tls.set_min_proto_version(Some(SslVersion::TLS1_3))?;
        tls.set_ciphersuites("TLS_AES_128_GCM_SHA256")?;
        tls.set_groups_list("X25519")?;
        tls.set_options(SslOptions::NO_TICKET);
        tls.set_num_tickets(0)?;
        tls.set_session_cache_mode(SslSessionCacheMode::OFF);
        Ok(tls)
    }
}

/// The hooks.
struct Balancer {
    backends: LoadBalancer<RoundRobin>,
    host: String,
    scheme: &'static str,
}

#[async_trait]
impl ProxyHttp for Balancer {
    type CTX = ();
    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        let backend = self
            .backends
            .select(b"", 256)
            .ok_or_else(|| Error::new_str("no backend"))?;
        Ok(Box::new(HttpPeer::new(backend, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _: &mut (),
    ) -> Result<()> {
        let downstream = session.req_header();
        let host = match downstream.headers.get("Host") {
            Some(value) => value.as_bytes(),
            None => downstream
                .uri
                .authority()
                .map_or("", |a| a.as_str())
                .as_bytes(), // HTTP/2
        };
        request.insert_header("X-Forwarded-Host", host)?;
        request.insert_header("X-Forwarded-Proto", self.scheme)?;
        if let Some(client) = session.client_addr().and_then(|a| a.as_inet()) {
            request.insert_header("X-Forwarded-For", client.ip().to_string())?;
        }
        request.insert_header("Host", self.host.as_str())?;
        Ok(())
    }
}

fn run() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let opts = Options::parse()?;
    let conf = ServerConf {
        threads: opts.threads,
        upstream_keepalive_pool_size: opts.pool,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();

    let balancer = Balancer {
        backends: LoadBalancer::try_from_iter(&opts.to)?,
        host: opts.host.clone(),
        scheme: if opts.tls() { "https" } else { "http" },
    };
    let mut options = HttpServerOptions::default();
    options.h2c = opts.h2c;
    let mut service = ProxyServiceBuilder::new(&server.configuration, balancer)
        .server_options(options)
        .build();
    if opts.tls() {
        service.add_tls_with_settings(&opts.listen, None, opts.tls_settings()?);
    } else {
        service.add_tcp(&opts.listen);
    }
    server.add_service(service);
    server.run_forever()
}

fn main() {
    if let Err(err) = run() {
        eprintln!("pingora-peer: {err}");
        process::exit(1);
    }
}
