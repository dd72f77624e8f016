import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/**
 * The tests run against a real Redis. Says nothing where there is one, installs it where that is safe to do, else says
 * how.
 */
function ensureRedis () {
  if (hasServer()) return
  if (!canInstall()) fail('The tests need redis-server (or valkey-server), and there is none on PATH.')
  console.log('The tests need redis-server: installing it with apt-get.')
  try {
    aptGet('update')
    aptGet('install', '-y', '--no-install-recommends', 'redis-server')
  } catch {
    fail('apt-get could not install redis-server.')
  }
  if (!hasServer()) fail('apt-get installed redis-server, but it is not on PATH.')
}

function hasServer () {
  return isOnPath('redis-server') || isOnPath('valkey-server')
}

/** Only as root on Debian and its kin: a container or a CI machine, where nobody is asked for a password. */
function canInstall () {
  return existsSync('/etc/debian_version') && isOnPath('apt-get') && process.getuid?.() === 0
}

function aptGet (...args) {
  // In run level 1 no service is started: each test starts a server of its own.
  execFileSync('apt-get', args, {
    stdio: 'inherit',
    env: { ...process.env, RUNLEVEL: '1', DEBIAN_FRONTEND: 'noninteractive' }
  })
}

function isOnPath (name) {
  return (process.env.PATH ?? '').split(delimiter).some((path) => {
    try {
      accessSync(join(path, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function fail (reason) {
  console.error(`${reason} Install it and run the tests again:
  Debian, Ubuntu   sudo apt-get install redis-server
  macOS            brew install redis
  elsewhere        https://redis.io/docs/latest/operate/oss_and_stack/install/ or https://valkey.io/download/`)
  process.exit(1)
}

ensureRedis()
