#!/usr/bin/env node
import { runCommand } from './run-command.ts'

process.exitCode = await runCommand(process)
