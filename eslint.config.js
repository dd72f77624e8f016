import neostandard from 'neostandard'

/** `sse/` and `pubsub/` know nothing of each other: rooms bring them together. */
const apart = (from, other) => ({
  files: [`lib/${from}/**/*.ts`],
  rules: { 'no-restricted-imports': ['error', { patterns: [{ group: [`**/${other}/**`], message: `${from}/ must not import ${other}/.` }] }] }
})

export default [
  ...neostandard({ ts: true, ignores: ['dist/**', 'coverage/**', '.tap/**'] }),
  {
    files: ['**/*.ts'],
    rules: { '@typescript-eslint/no-explicit-any': 'error' }
  },
  { files: ['lib/**/*.ts'], rules: { 'no-console': 'error' } },
  apart('sse', 'pubsub'),
  apart('pubsub', 'sse'),
  apart('sse', 'rooms'),
  apart('pubsub', 'rooms')
]
