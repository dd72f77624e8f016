import t from 'tap'
import { Redis } from 'ioredis'
import { resolveOptions } from '../../../lib/options.ts'
import { Metrics } from '../../../lib/observability/metrics.ts'
import { createPubSub } from '../../../lib/pubsub/create-pubsub.ts'
import { getChatChannel } from '../../../lib/pubsub/names.ts'
import { checkRedisUrl } from '../../../lib/pubsub/redis/url.ts'
import { keepLog } from '../../support/log.ts'

t.test('the options determine the provider', async (t) => {
  const redis = new Redis({ lazyConnect: true, retryStrategy: null })
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  const providers = [[{}, 'local'], [{ redisUrl: 'redis://127.0.0.1:1' }, 'redis'], [{ redis }, 'redis']] as const
  for (const [given, name] of providers) {
    const { log, lines } = keepLog('info')
    const pubsub = createPubSub(resolveOptions({ ...given }), log, new Metrics())
    t.equal(pubsub.name, name)
    t.match(lines[0], { provider: name })
    await pubsub.close()
  }
})

t.test('an invalid chat id has no channel', async (t) => {
  t.equal(getChatChannel('a:b'), 'chat:a:b')
  for (const wrong of ['', '\ud800', 'x'.repeat(1025), 1, undefined, null]) {
    t.throws(() => getChatChannel(wrong as string), { code: 'RT_CHAT_ID_INVALID' }) // As a caller without types could.
  }
})

t.test('an invalid Redis URL is refused, and the error does not contain it', async (t) => {
  for (const url of ['redis://127.0.0.1', 'rediss://user:p%40ss@host:1/15', 'redis://[::1]:6379/']) {
    t.equal(checkRedisUrl(url), url)
  }
  const wrong = [
    '', 1, undefined, 'hunter2', 'http://hunter2', 'redis://', 'redis:hunter2', 'redis://:hunter2@host/name',
    'redis://:hunter2%@host', 'redis://hunter2%zz:@host',
    'redis://:hunter2@host:99999'
  ]
  for (const url of wrong) {
    t.throws(() => checkRedisUrl(url), { code: 'RT_REDIS_URL_INVALID', message: /^(?!.*hunter2)/ }, String(url))
  }
})
