//! The proxy to the API server: from the kubeconfig, else from the environment, by the rules of `kubectl`.
//!
//! kube reads `HTTPS_PROXY` itself, but matches `NO_PROXY` against the proxy instead of the API server, and in a Pod it
//! reads neither. Connections to kubelets and agents, which are on the cluster's own network, never use a proxy.

use std::net::IpAddr;

use http::Uri;

/// Why a proxy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It is not a URL. The message does not contain the text, which may include a password.
    #[error("failed to parse {0}; use a URL such as http://proxy.example:3128")]
    Unreadable(&'static str),
    /// It uses an unsupported protocol.
    #[error("failed to use {0}: {1:?} is not supported; use http, https, or socks5")]
    Scheme(&'static str, String),
}

/// Chooses the proxy for an API server, if any. `named`: `proxy-url` of the kubeconfig, which always takes precedence.
/// `variable` reads the environment.
///
/// # Errors
/// When the proxy cannot be used.
pub(super) fn choose(
    server: &Uri,
    named: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Uri>, ProxyError> {
    if let Some(text) = named.filter(|text| !text.is_empty()) {
        return read(text, "proxy-url of the kubeconfig").map(Some);
    }
    let names: [&'static str; 2] = match server.scheme_str() {
        Some("https") => ["HTTPS_PROXY", "https_proxy"],
        Some("http") => ["HTTP_PROXY", "http_proxy"],
        Some(_) | None => return Ok(None),
    };
    let set = |name: &&str| variable(name).filter(|text| !text.trim().is_empty());
    let Some((name, text)) = names.into_iter().find_map(|name| Some((name, set(&name)?))) else { return Ok(None) };
    let exempt = ["NO_PROXY", "no_proxy"].iter().find_map(set).unwrap_or_default();
    if is_direct(server, &exempt) {
        return Ok(None);
    }
    read(text.trim(), name).map(Some)
}

fn read(text: &str, origin: &'static str) -> Result<Uri, ProxyError> {
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let text = text.strip_prefix("socks5h://").map_or(text.clone(), |rest| format!("socks5://{rest}"));
    let uri: Uri = text.parse().map_err(|_| ProxyError::Unreadable(origin))?;
    match uri.scheme_str() {
        Some("http" | "https" | "socks5") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        Some("http" | "https" | "socks5") | None => Err(ProxyError::Unreadable(origin)),
        Some(scheme) => Err(ProxyError::Scheme(origin, scheme.to_owned())),
    }
}

/// Whether `NO_PROXY` exempts the server. The local machine is always exempt.
fn is_direct(server: &Uri, exempt: &str) -> bool {
    let host = server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let port = server.port_u16().unwrap_or(if server.scheme_str() == Some("http") { 80 } else { 443 });
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    exempt.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| exempts(entry, &host, address, port))
}

/// `*`, `10.0.0.0/8`, `10.1.2.3`, `[fd00::1]:6443`, `example.org` with its subdomains, `.example.org` with only its
/// subdomains.
fn exempts(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        return address.is_some_and(|address| is_within(address, network, bits));
    }
    let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if let Ok(entry) = bare(entry).parse::<IpAddr>() {
        return address == Some(entry);
    }
    let (name, only) = match entry.rsplit_once(':') {
        Some((name, digits)) if digits.parse::<u16>().is_ok() => (bare(name), digits.parse().ok()),
        Some(_) | None => (bare(entry), None),
    };
    if only.is_some_and(|only: u16| only != port) {
        return false;
    }
    if let Ok(entry) = name.parse::<IpAddr>() {
        return address == Some(entry);
    }
    let name = name.strip_prefix('*').unwrap_or(&name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    }
}

fn is_within(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let (all, differs) = match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (32, u128::from(one.to_bits() ^ other.to_bits())),
        (IpAddr::V6(one), IpAddr::V6(other)) => (128, one.to_bits() ^ other.to_bits()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    bits <= all && differs.checked_shr(all - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(server: &str, named: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable = |name: &str| Some(variables.iter().find(|(known, _)| *known == name)?.1.to_owned());
        let chosen = choose(&server.parse().unwrap(), named, variable);
        chosen.map(|uri| uri.map(|uri| uri.to_string())).map_err(|error| error.to_string())
    }

    #[test]
    fn the_kubeconfig_has_precedence_and_the_scheme_of_the_server_selects_the_variable() {
        let check = |server, named, variables: &[(&str, &str)], expected: Option<&str>| {
            assert_eq!(
                chosen(server, named, variables),
                Ok(expected.map(Into::into)),
                "{server} {named:?} {variables:?}"
            );
        };
        let server = "https://api.example:6443";
        check(server, None, &[], None);
        check(server, None, &[("HTTPS_PROXY", "http://p:3128")], Some("http://p:3128/"));
        check(server, None, &[("https_proxy", "p:3128")], Some("http://p:3128/"));
        check(server, None, &[("HTTPS_PROXY", " "), ("https_proxy", "http://q:1")], Some("http://q:1/"));
        check(server, None, &[("HTTP_PROXY", "http://p:3128")], None);
        check("http://api.example:8080", None, &[("HTTP_PROXY", "http://p:3128")], Some("http://p:3128/"));
        check(server, None, &[("HTTPS_PROXY", "socks5h://p:1080")], Some("socks5://p:1080/"));
        check(server, Some("https://k:3129"), &[("HTTPS_PROXY", "http://p:3128")], Some("https://k:3129/"));
        // The kubeconfig takes precedence over every exemption in the environment.
        check(server, Some("http://k:3129"), &[("NO_PROXY", "*")], Some("http://k:3129/"));
        check("https://127.0.0.1:6443", Some("http://k:3129"), &[], Some("http://k:3129/"));
        check(server, Some(""), &[], None);
    }

    #[test]
    fn an_unusable_proxy_is_reported_without_its_password() {
        let check = |named, variables: &[(&str, &str)], expected: &str| {
            let message = chosen("https://api.example", named, variables).unwrap_err();
            assert!(message.contains(expected) && !message.contains("secret"), "{message}");
        };
        check(None, &[("HTTPS_PROXY", "http://me:secret@p q")], "HTTPS_PROXY");
        check(None, &[("https_proxy", "ftp://me:secret@p")], "https_proxy: \"ftp\" is not supported");
        check(Some("http://"), &[], "proxy-url of the kubeconfig");
    }

    #[test]
    fn a_server_that_no_proxy_exempts_is_connected_directly() {
        let check = |server: &str, exempt: &str, expected: bool| {
            let variables = [("HTTPS_PROXY", "http://10.9.9.9:3128"), ("NO_PROXY", exempt)];
            assert_eq!(chosen(server, None, &variables).unwrap().is_none(), expected, "{server} {exempt}");
        };
        let server = "https://api.example.org:6443";
        check(server, "", false);
        check(server, "*", true);
        check(server, "example.org", true);
        check(server, "Example.ORG", true);
        check(server, ".example.org", true);
        check(server, "*.example.org", true);
        check(server, ".api.example.org", false);
        check(server, "ample.org", false);
        check(server, "api.example.org:6443", true);
        check(server, "api.example.org:443", false);
        check(server, "a, ,example.org,", true);
        // The address of the proxy is not that of the server.
        check(server, "10.9.9.9", false);
        check("https://10.96.0.1", "10.0.0.0/8", true);
        check("https://10.96.0.1", "10.96.0.0/24,x", true);
        check("https://10.96.1.1", "10.96.0.0/24", false);
        check("https://10.96.0.1", "0.0.0.0/0", true);
        check("https://10.96.0.1", "10.96.0.1", true);
        check("https://10.96.0.1", "10.96.0.1:443", true);
        check("https://10.96.0.1", "10.96.0.1:6443", false);
        check("https://10.96.0.1", "10.96.0.0/33", false);
        check("https://10.96.0.1", "fd00::/8", false);
        check("https://[fd00::1]:6443", "fd00::/8", true);
        check("https://[fd00::1]:6443", "[fd00::1]:6443", true);
        check("https://[fd00::1]:6443", "fd00::1", true);
        check("https://localhost:6443", "", true);
        check("https://127.0.0.1:6443", "", true);
        check("https://[::1]:6443", "", true);
    }
}
