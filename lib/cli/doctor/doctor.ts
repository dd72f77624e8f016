import { providerOptions } from '../../pubsub/provider-options.ts'
import { resolve } from '../../core/options.ts'
import { timing } from '../../core/timing.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import type { Command } from '../command.ts'
import { describeTarget } from '../target.ts'
import { fixFor, reasonOf } from './connect.ts'
import { Deployment } from './deployment.ts'
import { deploymentChecks } from './deployment-checks.ts'
import { failure, findingOf, ok, type Check, type Finding } from './findings.ts'
import { formatReport } from './report.ts'
import { serverChecks } from './server-checks.ts'

const connection: Check<Deployment> = {
  name: 'connection',
  meaning: 'While Redis is out of reach, nothing can be published, and streams get no events.',
  fix: '',
  async look (deployment) {
    try {
      await deployment.connect()
      return ok('connected')
    } catch (error) {
      const reason = reasonOf(error)
      return failure(reason, fixFor(reason))
    }
  }
}

/** Looks at a Redis and prints what would go wrong. The exit status is 1 if there is a failure. */
export function doctor (asJson: boolean): Command {
  return async ({ target, keyPrefix, sharded, stdout }) => {
    const values = resolve(providerOptions, { keyPrefix })
    const deployment = new Deployment({ target, keyPrefix: values.keyPrefix, sharded })
    try {
      const findings = await examine(deployment)
      const report = { redis: describeTarget(target), healthy: !findings.some(isFailure), findings }
      stdout.write(asJson ? `${JSON.stringify(report, undefined, 2)}\n` : formatReport(report))
      return report.healthy ? 0 : 1
    } finally {
      deployment.close()
    }
  }
}

async function examine (deployment: Deployment): Promise<Finding[]> {
  const { kind } = deployment.target
  const checks = deploymentChecks.filter(({ only = kind }) => only === kind)
  const isAlone = ({ alone = false }): boolean => alone
  const [sight, nodes] = await Promise.all([
    connection.look(deployment), lookAll(checks.filter(isAlone), deployment)
  ])
  const connected = findingOf(connection, sight)
  if (isFailure(connected)) {
    const [cause] = nodes.filter(isFailure)
    return [cause === undefined ? connected : { ...connected, fix: `See the finding ${cause.check}.` }, ...nodes]
  }
  const findings = [connected]
  for (const server of deployment.servers) {
    findings.push(...await lookAll(serverChecks, server, server.address))
  }
  return [...findings, ...nodes, ...await lookAll(checks.filter((check) => !isAlone(check)), deployment)]
}

/** Looks one after another, so that one does not slow down the pings of another. */
async function lookAll<Subject> (
  checks: readonly Check<Subject>[], subject: Subject, server?: string
): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const check of checks) {
    let isLost = false
    const sight = await withTimeout(check.look(subject), LONGEST).catch((error: unknown) => {
      const reason = reasonOf(error)
      isLost = !/^NOPERM|unknown command/.test(reason)
      return isLost ? failure(reason, fixFor(reason)) : { level: 'unknown' as const, found: reason, fix: LOOK }
    })
    findings.push(findingOf(check, sight, server))
    // The other checks would fail, too, and perhaps wait as long.
    if (isLost) break
  }
  return findings
}

/** Longer than a connection or a command of a check takes, since each of them is bounded. */
const LONGEST = 3 * timing.redisSilence

const LOOK = 'Allow the user to look: +config|get +info +scan +pubsub +cluster.'

function isFailure ({ level }: Finding): boolean {
  return level === 'failure'
}
