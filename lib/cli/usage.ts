/** The command line is wrong. Its message never contains a value, since a value may hold a password. */
export class UsageError extends Error {}

export const USAGE = `Usage: fastify-realtime <command> [options]

  doctor               says what is wrong with a Redis, and which setting mends it
  tail CHAT            shows the events of a chat as they are published
  publish CHAT EVENT   publishes an event, such as '{"type":"message","message":{"text":"Hello"}}';
                       - reads it from standard input

Which Redis (default: the URL in the environment variable REDIS_URL):
  --redis URL          redis:// or rediss://. Other users of this machine can see it in the list of processes
  --cluster NODES      a Redis Cluster: host:port,host:port
  --sentinel NODES     a Redis behind Sentinels: host:port,host:port; with --name
  --name NAME          the name of the primary in the Sentinels
  --tls                TLS, for --cluster and --sentinel
                       Their user and passwords: REDIS_USERNAME, REDIS_PASSWORD and SENTINEL_PASSWORD
  --key-prefix PREFIX  the option keyPrefix of the app, default rt:
  --sharded            the option sharded of the app

doctor:
  --json               prints the findings as JSON
tail:
  -n COUNT             begins with the last COUNT events, default 10
publish:
  --key KEY            an idempotency key: publishing again with it publishes nothing

Exit status: 0 if all is well, 1 if something failed, 2 if the command line is wrong.
`
