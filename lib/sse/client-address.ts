import { SocketAddress, isIPv6 } from 'node:net'

/** An IPv4 address in IPv6 form, as dual-stack sockets report it: `::ffff:192.0.2.1`. */
const MAPPED = /^::ffff:(?=[\d.]+$)/
/** An IPv4 address in IPv6 form, as a NAT64 translator in front of the app reports it: `64:ff9b::c000:201`. */
const TRANSLATED = /^64:ff9b::/

/**
 * Returns the address by which a client is counted. For IPv6 it is the /64 network, since one client can use all
 * addresses of that network. An IPv4 address in IPv6 form is counted as one address. Anything else, such as a name
 * that a proxy sets, stays unchanged.
 */
export function clientAddress (ip: string): string {
  // Without the zone, as in `fe80::1%eth0`.
  const [unzoned = ''] = ip.split('%')
  if (!isIPv6(unzoned)) return ip
  // Normalizes the address: IPv6 addresses have several notations.
  const { address } = new SocketAddress({ address: unzoned, family: 'ipv6' })
  if (MAPPED.test(address)) return address.replace(MAPPED, '')
  if (TRANSLATED.test(address)) return address
  // `::` stands for as many zero groups as are missing from eight. The first four groups are the network.
  const [first = [], last = []] = address.split('::').map((groups) => groups.split(':').filter((group) => group !== ''))
  const zeros = Array<string>(8 - first.length - last.length).fill('0')
  return `${[...first, ...zeros, ...last].slice(0, 4).join(':')}::/64`
}
