// @ts-check
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startChild } from './child.js'
import { exists, isOnPath, startDaemon } from './daemon.js'
import { freePort } from './free-port.js'
import { publishByPost } from './post.js'

/** The path in Debian's package libnginx-mod-nchan. */
const MODULE = '/usr/lib/nginx/modules/ngx_nchan_module.so'

/** Returns why nchan cannot be measured here, or `undefined`. */
export function nchanIsMissing () {
  if (!isOnPath('nginx') || !exists(MODULE)) {
    return 'nginx with nchan is not installed (Debian: nginx and libnginx-mod-nchan)'
  }
  return exists('/proc/self/schedstat') ? undefined : 'the CPU time of other processes can be read on Linux only'
}

/**
 * Starts nginx with nchan, which keeps as many events of a chat as ours.
 * @returns {Promise<import('./target.js').Target>}
 */
export async function startNchan () {
  const port = await freePort()
  const daemon = await startDaemon('nginx', (folder) => {
    writeFileSync(join(folder, 'nginx.conf'), configuration(folder, port))
    return ['-c', join(folder, 'nginx.conf'), '-p', folder, '-e', 'stderr']
  }, port)
  const client = startChild('client.js')
  const address = { port, path: '/sub/:chat', ready: ': hi' }
  let cpu = 0
  return {
    name: 'nchan',
    address,
    client: client.call,
    server: async () => { throw new Error('nchan does not run server.js') },
    open: (options) => client.call('open', { ...address, ...options }),
    begin: async () => { cpu = cpuOf(daemon.pid) },
    end: async () => cpuOf(daemon.pid) - cpu,
    publish: publishByPost(port, '/pub/:chat'),
    stop: async () => {
      await client.stop()
      await daemon.stop()
    }
  }
}

/**
 * Returns a configuration with a single process, like that of Node.
 * @param {string} folder
 * @param {number} port
 */
function configuration (folder, port) {
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const temporary = kinds.map((kind) => `${kind}_temp_path ${folder}/${kind};`)
  return `
load_module ${MODULE};
daemon off;
master_process off;
pid ${folder}/nginx.pid;
events { worker_connections 20000; }
http {
  access_log off;
  ${temporary.join('\n  ')}
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location ~ ^/pub/(\\w+)$ {
      nchan_publisher http;
      nchan_channel_id $1;
      nchan_message_buffer_length 1000;
      nchan_message_timeout 10m;
    }
    location ~ ^/sub/(\\w+)$ {
      nchan_subscriber eventsource;
      nchan_channel_id $1;
      nchan_subscriber_first_message newest;
    }
  }
}
`
}

/**
 * Returns the CPU time of a process with one thread, in µs. (/proc/<pid>/stat only counts hundredths of a second.)
 * @param {number} pid
 */
function cpuOf (pid) {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1000
}
