import assert from 'node:assert/strict'
import { untilAllActive, untilDelivered, collect, collectPattern, type Bus } from './bus.ts'
import type { Cases } from './contract.ts'

export const ODD_CHANNELS = [
  '*', '**', '?', '[', ']', '[a]', '[^a]', '{', '}', '{a}', '}{', '\\', '\\*', '%', '%2A', '%zz', '\0', 'a\0b',
  '\n', 'a\r\nb', ' ', 'a b', '\ufeff', 'é', 'e\u0301', '€', '😀', '\ufffd', '__proto__', 'constructor',
  'x'.repeat(1024), `${'x'.repeat(1023)}*`, 'x'.repeat(4096), 'é'.repeat(2048)
]

export const INVALID_CHANNELS = [
  '', 1, null, undefined, {}, ['c'], '\ud800', 'a\udc00b', 'x'.repeat(4097), 'é'.repeat(2049), '€'.repeat(1366)
] as string[] // Callers without type checks can pass these.

/** Patterns, each with channels that match and channels that do not. */
const PATTERNS: [pattern: string, matching: string[], others: string[]][] = [
  ['a.*', ['a.', 'a.b', 'a.b.c', 'a.*', 'a.é', 'a.\n'], ['a', 'b.a.b', 'A.b']],
  ['*.z', ['.z', 'a.z', 'a.b.z', '€.z'], ['z', 'a.z.', 'a.zz']],
  ['a*b*c', ['abc', 'aXbYc', 'abbcc', 'acbc'], ['ab', 'acb', 'abcd']],
  ['a?c', ['abc', 'a?c', 'a c'], ['ac', 'abbc', 'aéc']],
  ['a??c', ['abbc', 'aéc'], ['abc', 'a€c']],
  ['a????c', ['a😀c', 'aéêc', 'abcdec'], ['a?c', 'abcdc']],
  ['a[b-d]e', ['abe', 'ace', 'ade'], ['aae', 'aee', 'a[b-d]e', 'ae']],
  ['a[d-b]e', ['abe', 'ade'], ['aae']],
  ['a[^b-d]e', ['aae', 'aee', 'a^e'], ['abe', 'ace', 'aée']],
  ['a[-x]b', ['a-b', 'axb'], ['ab']],
  ['a[]b', [], ['ab', 'axb', 'a[]b', 'a]b']],
  ['a[^]b', ['axb', 'a]b'], ['ab', 'axxb']],
  ['a[bc', ['ab', 'ac'], ['a[bc', 'a', 'abc']],
  ['a[\\]\\-]b', ['a]b', 'a-b'], ['a\\b', 'ab']],
  ['a\\*b', ['a*b'], ['ab', 'aXb', 'a\\*b']],
  ['a\\?b\\[c\\]', ['a?b[c]'], ['aXb[c]', 'a?bc']],
  ['a\\\\b', ['a\\b'], ['a\\\\b', 'ab']],
  ['ab\\', ['ab\\'], ['ab', 'ab\\\\']],
  ['a[é]b', [], ['aéb', 'ab']],
  ['a[é][é]b', ['aéb'], ['aêb', 'aéêb']],
  ['{a}%2A:*', ['{a}%2A:', '{a}%2A:b'], ['{a}*:', '%7Ba%7D%2A:']],
  [`${'*a'.repeat(2_000)}`, ['a'.repeat(2_000), 'ba'.repeat(2_000)], ['a'.repeat(1_999)]],
  [`${'*a'.repeat(2_000)}b`, [], ['a'.repeat(4_096)]]
]

/** Returns a pattern that matches exactly this text. */
function escape (text: string): string {
  return text.replaceAll(/[*?[\]\\^-]/g, '\\$&')
}

/** Cases about valid channels and patterns, and what they match. */
export const channels: Cases<Bus> = {
  async 'no character of a channel has a special meaning' ({ peer, sides }) {
    const got = sides.flatMap((side) => ODD_CHANNELS.map((channel) => ({ channel, data: collect(side, channel) })))
    await untilAllActive(sides)
    for (const channel of [...ODD_CHANNELS, 'a', 'b', 'ab', 'aab']) await peer.publish(channel, channel)
    await untilDelivered(sides)
    for (const { channel, data } of got) assert.deepEqual(data, [channel], JSON.stringify(channel.slice(0, 9)))
  },

  async 'every channel can be matched by a pattern that escapes it' ({ peer, sides }) {
    const short = ODD_CHANNELS.filter((channel) => escape(channel).length <= 2_048)
    const got = sides.flatMap((side) =>
      short.map((channel) => ({ channel, data: collectPattern(side, escape(channel)) })))
    await untilAllActive(sides)
    for (const channel of [...ODD_CHANNELS, 'a', 'b', 'ab', 'aab']) await peer.publish(channel, channel)
    await untilDelivered(sides)
    for (const { channel, data } of got) assert.deepEqual(data, [channel], JSON.stringify(channel.slice(0, 9)))
  },

  async 'an invalid channel is refused' ({ provider }) {
    for (const channel of INVALID_CHANNELS) {
      await assert.rejects(provider.publish(channel, 1), { code: 'RT_CHANNEL_INVALID', statusCode: 400 })
      await assert.rejects(provider.publish(channel, 1, { ephemeral: true }), { code: 'RT_CHANNEL_INVALID' })
      assert.throws(() => provider.subscribeExact(channel, () => {}), { code: 'RT_CHANNEL_INVALID' })
      assert.throws(() => provider.subscribe(channel, () => {}), { code: 'RT_CHANNEL_INVALID' })
    }
  },

  async 'a pattern matches the same channels as in Redis' ({ provider, sides }) {
    const all = new Set(PATTERNS.flatMap(([, matching, others]) => [...matching, ...others]))
    const rows = sides.flatMap((side) => PATTERNS.map(([pattern, matching, others]) => ({
      pattern, matching, others, got: collectPattern(side, pattern) as string[]
    })))
    await untilAllActive(sides)
    for (const channel of all) await provider.publish(channel, channel)
    await untilDelivered(sides)
    for (const { pattern, matching, others, got } of rows) {
      assert.deepEqual(
        got.filter((channel) => matching.includes(channel)).sort(),
        [...matching].sort(),
        `${pattern.slice(0, 20)} matches`
      )
      assert.deepEqual(got.filter((channel) => others.includes(channel)), [], `${pattern.slice(0, 20)} does not match`)
    }
  }
}
