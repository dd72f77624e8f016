import neostandard from 'neostandard'

/** Imports point one way, and `sse/` and `pubsub/` know nothing of each other: rooms bring them together. */
const apart = (folder, ...others) => ({
  files: [`lib/${folder}/**/*.ts`],
  rules: {
    'no-restricted-imports': ['error', { patterns: [{ group: others.map((other) => `**/${other}/**`), message: `${folder}/ must not import these.` }] }]
  }
})

export default [
  ...neostandard({ ts: true, ignores: ['dist/**', 'coverage/**', '.tap/**', 'docs/api/**'] }),
  {
    files: ['**/*.ts'],
    rules: { '@typescript-eslint/no-explicit-any': 'error' }
  },
  { files: ['lib/**/*.ts'], rules: { 'no-console': 'error' } },
  apart('sse', 'pubsub', 'rooms', 'routes'),
  apart('pubsub', 'sse', 'rooms', 'routes'),
  apart('rooms', 'routes')
]
