import { SocketAddress, isIPv6 } from 'node:net'

/** IPv4 in IPv6: as sockets that take both have it, and as a translator (NAT64) in front of the app does. */
const MAPPED = /^::ffff:(?=[\d.]+$)/
const TRANSLATED = /^64:ff9b::/

/**
 * The address by which a client is counted: the network of 64 bits for IPv6, since one client has as many addresses as that holds. IPv4 in IPv6
 * stays one address. Anything else, such as a name that a proxy gives, stays as it is.
 */
export function clientAddress (ip: string): string {
  const [unzoned = ''] = ip.split('%')
  if (!isIPv6(unzoned)) return ip
  // It writes each address in one way only.
  const { address } = new SocketAddress({ address: unzoned, family: 'ipv6' })
  if (MAPPED.test(address)) return address.replace(MAPPED, '')
  if (TRANSLATED.test(address)) return address
  const [first = [], last = []] = address.split('::').map((groups) => groups.split(':').filter((group) => group !== ''))
  const zeros = Array<string>(8 - first.length - last.length).fill('0')
  return `${[...first, ...zeros, ...last].slice(0, 4).join(':')}::/64`
}
