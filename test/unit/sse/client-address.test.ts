import t from 'tap'
import { clientAddress } from '../../../lib/sse/client-address.ts'

/** Addresses, and what each is counted as. */
const addresses: Record<string, string> = {
  '192.0.2.1': '192.0.2.1',
  '::ffff:192.0.2.1': '192.0.2.1',
  '::FFFF:c000:201': '192.0.2.1',
  '0:0:0:0:0:ffff:192.0.2.1': '192.0.2.1',
  '64:ff9b::192.0.2.1': '64:ff9b::c000:201',
  '2001:db8:1:2:3:4:5:6': '2001:db8:1:2::/64',
  '2001:DB8:0001:2::': '2001:db8:1:2::/64',
  '2001:db8::1': '2001:db8:0:0::/64',
  '1:0:0:5:6:7:8:9': '1:0:0:5::/64',
  '::ffff:0:1:2:3': '0:0:0:ffff::/64',
  '::1': '0:0:0:0::/64',
  'fe80::1%eth0': 'fe80:0:0:0::/64',
  unknown: 'unknown',
  '192.0.2.1:4711': '192.0.2.1:4711',
  'a%b': 'a%b'
}

t.test('an IPv6 client counts by its network, an IPv4 client by its address in any notation', async (t) => {
  for (const [ip, counted] of Object.entries(addresses)) t.equal(clientAddress(ip), counted, ip)
})
