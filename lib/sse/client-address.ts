import { SocketAddress, isIPv6 } from 'node:net'

/**
 * IPv4 addresses in IPv6 form: as dual-stack sockets report them, and as a translator (NAT64) in front of the app
 * does.
 */
const MAPPED = /^::ffff:(?=[\d.]+$)/
const TRANSLATED = /^64:ff9b::/

/**
 * Returns the address by which a client is counted. For IPv6 it is the /64 network, since one client can use all
 * addresses of that network. An IPv4 address in IPv6 form is counted as one address. Anything else, such as a name
 * that a proxy sets, stays unchanged.
 */
export function clientAddress (ip: string): string {
  const [unzoned = ''] = ip.split('%')
  if (!isIPv6(unzoned)) return ip
  // `SocketAddress` normalizes: it writes each address in one way only.
  const { address } = new SocketAddress({ address: unzoned, family: 'ipv6' })
  if (MAPPED.test(address)) return address.replace(MAPPED, '')
  if (TRANSLATED.test(address)) return address
  const [first = [], last = []] = address.split('::').map((groups) => groups.split(':').filter((group) => group !== ''))
  const zeros = Array<string>(8 - first.length - last.length).fill('0')
  return `${[...first, ...zeros, ...last].slice(0, 4).join(':')}::/64`
}
