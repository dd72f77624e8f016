import t from 'tap'
import { startApp } from '../../support/app.ts'
import { until } from '../../support/until.ts'
import { Page, dropAll, settle } from './page.ts'

t.setTimeout(120_000)

t.test('a stream is neither read from a cache nor stored in one', async (t) => {
  const { url } = await startApp(t)
  const caches: unknown[] = []
  const page = new Page(t, url, {
    fetch: async (...args) => { caches.push((args[1] as { cache?: string }).cache); return await fetch(...args) }
  })
  await page.open('a').ready()
  t.same(caches, ['no-store'])
})

t.test('headers are requested anew for each connection, and once more after a 401', async (t) => {
  const tokens = ['old', 'new']
  let asked = 0
  const { app, url } = await startApp(t, {
    retryMs: 1,
    authorize: ({ headers: { authorization } }) => {
      if (authorization !== 'new') throw Object.assign(new Error('Sign in first'), { statusCode: 401 })
      return true
    }
  })
  const page = new Page(t, url, {
    headers: async () => {
      if (++asked === 1) throw new Error('offline just now')
      return { authorization: tokens[0] as string }
    },
    fetch: async (...args) => {
      const response = await fetch(...args)
      if (response.status === 401) tokens.shift()
      return response
    }
  })
  const seen = page.open('a')
  await until(async () => asked, (count) => count === 1)
  page.client.reconnect()
  await seen.ready()
  t.equal(asked, 3)
  tokens[0] = 'wrong'
  settle(t)
  dropAll(app)
  await page.is('stopped')
  t.equal(asked, 5)
  t.match(page.refusals, [{ status: 401, message: 'Sign in first' }])
  const fixed = new Page(t, url, { headers: { authorization: 'wrong' } })
  fixed.open('a')
  await fixed.is('stopped')
  t.equal(fixed.refusals.length, 1)
})

t.test('headers that never arrive are requested again', async (t) => {
  const { url } = await startApp(t, { retryMs: 1 })
  let asked = 0
  const page = new Page(t, url, { silenceMs: 200, headers: () => ++asked === 1 ? new Promise(() => {}) : {} })
  const seen = page.open('a')
  await until(async () => asked, (count) => count === 1)
  await seen.ready()
  t.ok(asked > 1)
})
