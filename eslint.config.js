import neostandard from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: ['dist/**', 'coverage/**', '.tap/**', 'docs/api/**'] }),
  {
    files: ['**/*.ts'],
    rules: { '@typescript-eslint/no-explicit-any': 'error' }
  },
  {
    files: ['lib/**/*.ts'],
    rules: { 'no-console': 'error' }
  },
  {
    // A page has no logger.
    files: ['lib/client/**/*.ts'],
    rules: { 'no-console': ['error', { allow: ['warn'] }] }
  },
  {
    rules: { '@stylistic/max-len': ['error', { code: 120, comments: 120, ignoreUrls: true }] }
  }
]
