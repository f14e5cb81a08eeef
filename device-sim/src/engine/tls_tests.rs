//! A run over TLS, against the scripted broker behind a TLS acceptor: whom it trusts, and what its logins are bound to.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use keygate_protocol::login::{Binding, EXPORTER_LABEL, EXPORTER_LEN};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ProtocolVersion, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use super::socket_tests::{Writers, carry, small};
use super::{Plan, Quiet, RunError, run};
use crate::peer::{BROKER_ID, Peer};
use crate::report::Report;
use crate::scenario::{Login, Scenario};
use crate::session::TlsFault;
use crate::target::Target;
use crate::tls::Tls;

/// Everybody but the impostors: 20 devices and the controller.
const HONEST: u32 = 21;

/// A CA and what it signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("signs"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server whose certificate is for this name.
    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("signs");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS #8");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("they belong together");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// The scripted broker behind an acceptor. `twist` is put on what its end of each channel exports.
struct Stage {
    acceptor: TlsAcceptor,
    twist: u8,
    peer: Rc<RefCell<Peer>>,
}

impl Stage {
    async fn serve(self, listener: TcpListener) {
        let (writers, stage) = (Writers::default(), Rc::new(self));
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(Rc::clone(&stage).secure(stream, Rc::clone(&writers)));
        }
    }

    async fn secure(self: Rc<Self>, stream: TcpStream, writers: Writers) {
        // Who does not trust this server says so and goes.
        let Ok(stream) = self.acceptor.accept(stream).await else {
            return;
        };
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let client = self.peer.borrow_mut().accept();
        let context = Peer::nonce(client);
        let mut value = session
            .export_keying_material(
                [0; EXPORTER_LEN],
                EXPORTER_LABEL.as_bytes(),
                Some(&context[..]),
            )
            .expect("the handshake is complete");
        value[0] ^= self.twist;
        self.peer.borrow_mut().exports(client, value);
        carry(stream, client, Rc::clone(&self.peer), writers).await;
    }
}

/// What a run meets over TLS.
struct Case {
    scenario: Scenario,
    /// Signed the server's certificate.
    signer: Authority,
    /// The name in it.
    name: &'static str,
    /// What the fleet trusts.
    trusted: String,
    binding: Binding,
    twist: u8,
}

impl Case {
    fn good() -> Self {
        let signer = Authority::new();
        Self {
            scenario: small(),
            trusted: signer.pem(),
            signer,
            name: "127.0.0.1",
            binding: Binding::Exporter,
            twist: 0,
        }
    }

    /// The outcome, where the broker was, and how many logins it found bound.
    fn go(self) -> (Result<Report, RunError>, SocketAddr, u32) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        LocalSet::new().block_on(&runtime, async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let mqtt = listener.local_addr().expect("bound");
            let peer = Rc::new(RefCell::new(Peer::new(&self.scenario)));
            let identity_key = Some(peer.borrow().identity_key());
            let stage = Stage {
                acceptor: self.signer.acceptor(self.name),
                twist: self.twist,
                peer: Rc::clone(&peer),
            };
            tokio::task::spawn_local(stage.serve(listener));
            let mut tls = Tls::new(self.trusted.as_bytes(), "127.0.0.1").expect("good");
            tls.binding = self.binding;
            let target = Target {
                mqtt,
                tls: Some(tls),
                coap: None,
                broker_id: BROKER_ID.to_owned(),
                identity_key,
            };
            let plan = Plan::new(self.scenario, target).expect("goes together");
            let outcome = run(plan, &mut Quiet).await;
            let bound = peer.borrow().bound;
            (outcome, mqtt, bound)
        })
    }
}

#[test]
fn a_fleet_logs_in_over_tls_1_3_bound_to_its_channels() {
    let (report, mqtt, bound) = Case::good().go();
    let report = report.expect("runs");
    assert!(report.passed, "{report}");
    assert_eq!(bound, HONEST);
    assert_eq!(
        (report.reports.delivered, report.desired.delivered),
        (60, 60)
    );
    assert_eq!(
        (report.impostors.refused, report.logins.broker_proofs),
        (2, 20)
    );
    assert!(report.bound);
    assert_eq!(report.mqtt, format!("mqtts://{mqtt}"));
    assert!(report.command.ends_with("--target - --tls"));
    assert!(report.to_string().contains("(logins bound to the channel)"));
}

#[test]
fn a_fleet_may_be_told_not_to_bind() {
    let case = Case {
        binding: Binding::None,
        ..Case::good()
    };
    let (report, _, bound) = case.go();
    let report = report.expect("runs");
    assert!(report.passed, "{report}");
    assert_eq!((bound, report.bound), (0, false));
}

#[test]
fn passwords_go_over_tls_and_are_bound_to_nothing() {
    let mut case = Case::good();
    case.scenario.fleet.login = Login::Password;
    let (report, _, bound) = case.go();
    let report = report.expect("runs");
    assert!(report.passed, "{report}");
    assert_eq!((bound, report.bound), (0, false));
}

/// A relay between two channels has two exporter values: a proof for one is refused on the other.
#[test]
fn a_proof_for_another_channel_is_refused() {
    let case = Case {
        twist: 1,
        ..Case::good()
    };
    let (outcome, _, bound) = case.go();
    let Err(RunError::NotEnrolled { id, .. }) = outcome else {
        panic!("ran")
    };
    assert_eq!((id.as_str(), bound), ("sim-controller", 0));
}

#[test]
fn a_ca_that_did_not_sign_is_told_apart() {
    let case = Case {
        trusted: Authority::new().pem(),
        ..Case::good()
    };
    let (outcome, address, _) = case.go();
    let refused = outcome.map(|_| ()).expect_err("nobody vouches for it");
    let fault = TlsFault::UnknownIssuer;
    assert_eq!(refused, RunError::NoTls { address, fault });
    assert!(refused.to_string().contains("pass the CA"), "{refused}");
}

#[test]
fn any_of_several_cas_will_do() {
    let mut case = Case::good();
    case.trusted = Authority::new().pem() + &case.trusted;
    let (report, ..) = case.go();
    assert!(report.expect("runs").passed);
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let case = Case {
        name: "elsewhere.example",
        ..Case::good()
    };
    let (outcome, ..) = case.go();
    let Err(RunError::NoTls { fault, .. }) = outcome else {
        panic!("ran")
    };
    let TlsFault::WrongName(text) = &fault else {
        panic!("{fault:?}")
    };
    assert!(text.contains("elsewhere.example"), "{text}");
}
