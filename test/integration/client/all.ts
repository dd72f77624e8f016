import { loadTests } from '../../support/load-tests.ts'

loadTests(import.meta.dirname)
