/**
 * The command of a Node process that runs no test. tap gives every child of a test `NODE_OPTIONS`: loaders, and
 * coverage that nothing counts. They take longer than the start itself.
 */
export function plainNode (...args: string[]): [command: string, args: string[]] {
  return ['env', ['-u', 'NODE_OPTIONS', process.execPath, ...args]]
}
